"""What waits in Gradio's queue for a browser to fetch it: bounded, and gone when nobody comes."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from melformer.errors import RequestError
from melformer.ui.wire import Messages

if TYPE_CHECKING:
    import gradio as gr

MAX_MESSAGES = 16
"""So many messages wait for their reader; then the stream waits too."""
MAX_BYTES = 2**22
"""And so many bytes: a beat with its stems, slow, in stereo and at a high rate, has 5 MB."""
UNHEARD_S = 10.0
"""A stream whose messages nobody fetched for so long ends."""
KEPT_S = 60.0
"""What is left of a stream that ended is kept for so long."""
FETCHED_S = 1.0
"""Whoever is there fetches a message within this time."""
NAP_S = 0.05


class Outbox:
    """The messages of all streams, by the name that the reader gave itself (Gradio's `session_hash`).

    Gradio keeps every message until it is fetched, also where nobody ever asked for one.
    """

    def __init__(self, page: "gr.Blocks") -> None:
        self._page = page
        self._idle_since: dict[str, float] = {}
        self._closed = False

    def close(self) -> None:
        """No reader is waited for any more."""
        self._closed = True

    def n_waiting(self, reader: str) -> int:
        messages = self._page._queue.pending_messages_per_session.get(reader)
        return 0 if messages is None else messages.qsize()

    def bounded(self, messages: Iterator[dict[str, Any]], reader: str) -> Messages:
        """`messages`, each made only when the reader has fetched nearly all before it; ended when it fetches none."""
        for message in messages:
            yield message
            most = max(2, min(MAX_MESSAGES, MAX_BYTES // max(1, _n_bytes(message))))
            since_s, before = time.monotonic(), self.n_waiting(reader)
            while (waiting := self.n_waiting(reader)) >= most and not self._closed:
                if waiting < before:
                    since_s, before = time.monotonic(), waiting
                if time.monotonic() - since_s > UNHEARD_S:
                    return
                time.sleep(NAP_S)

    def heard(self, messages: Iterator[dict[str, Any]], reader: str) -> Messages:
        """`messages` that nobody is sent, as long as somebody waits for what comes of them: who does has fetched all
        that there was. Errors: RequestError when nobody came."""
        since_s = time.monotonic()
        for message in messages:
            yield message
            if not self.n_waiting(reader):
                since_s = time.monotonic()
            elif time.monotonic() - since_s > UNHEARD_S:
                raise RequestError(f"The answer wasn't fetched within {UNHEARD_S:g} seconds.")

    def check_heard(self, reader: str, asked_s: float) -> None:
        """Before something costly that had to wait since `asked_s`: whether its reader has come meanwhile.
        Errors: RequestError when nobody came."""
        now_s = time.monotonic()
        while now_s - asked_s > UNHEARD_S and self.n_waiting(reader) and not self._closed:
            if time.monotonic() - now_s > FETCHED_S:
                raise RequestError(f"The answer wasn't fetched within {UNHEARD_S:g} seconds.")
            time.sleep(NAP_S)

    def sweep(self, now_s: float | None = None) -> None:
        """Forget what was left of streams that ended a minute ago and more."""
        now_s = time.monotonic() if now_s is None else now_s
        busy = self._busy_readers()
        idle = [reader for reader in list(self._page._queue.pending_messages_per_session) if reader not in busy]
        self._idle_since = {reader: self._idle_since.get(reader, now_s) for reader in idle}
        for reader, since_s in list(self._idle_since.items()):
            if now_s - since_s > KEPT_S:
                self.forget(reader)

    def forget(self, reader: str) -> None:
        queue = self._page._queue
        self._idle_since.pop(reader, None)
        queue.pending_messages_per_session.pop(reader, None)
        for event in queue.pending_event_ids_session.pop(reader, set()):
            queue.event_ids_to_events.pop(event, None)

    def _busy_readers(self) -> set[str]:
        queue = self._page._queue
        running = [event for job in queue.active_jobs if job for event in job]
        waiting = [event for line in queue.event_queue_per_concurrency_id.values() for event in line.queue]
        return {event.session_hash for event in [*running, *waiting]}


def _n_bytes(message: Any) -> int:
    """Of the texts in it, which are nearly all of it."""
    if isinstance(message, str):
        return len(message)
    if isinstance(message, dict):
        return sum(map(_n_bytes, message.values()))
    return sum(map(_n_bytes, message)) if isinstance(message, (list, tuple)) else 0
