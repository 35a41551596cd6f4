"""Messages that nobody fetches: the stream waits, then ends, and what is left goes."""

import queue
import time
from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from melformer.errors import RequestError
from melformer.ui.host import outbox as outbox_module
from melformer.ui.host.outbox import KEPT_S, MAX_BYTES, MAX_MESSAGES, Outbox


class Line:
    """As much of Gradio's queue as the outbox looks at."""

    def __init__(self) -> None:
        self.pending_messages_per_session: dict[str, queue.Queue[Any]] = {}
        self.pending_event_ids_session: dict[str, set[str]] = {}
        self.event_ids_to_events: dict[str, Any] = {}
        self.active_jobs: list[Any] = [None, None]
        self.event_queue_per_concurrency_id: dict[str, Any] = {}


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def outbox(line: Line, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    monkeypatch.setattr(outbox_module, "UNHEARD_S", 0.2)
    monkeypatch.setattr(outbox_module, "NAP_S", 0.001)
    return Outbox(SimpleNamespace(_queue=line))  # type: ignore[arg-type]


def endless(made: list[int]) -> Iterator[dict[str, Any]]:
    try:
        while len(made) < 1_000:
            made.append(len(made))
            yield {"beat": made[-1]}
    finally:
        made.append(-1)


def test_a_stream_that_nobody_hears_ends(line: Line, outbox: Outbox) -> None:
    messages = line.pending_messages_per_session["a"] = queue.Queue()
    made: list[int] = []
    stream = endless(made)
    for message in outbox.bounded(stream, "a"):
        messages.put(message)
    assert messages.qsize() == MAX_MESSAGES == len(made)
    stream.close()
    assert made[-1] == -1


def test_large_messages_wait_in_smaller_number(line: Line, outbox: Outbox) -> None:
    """By the bytes of all that is in them: samples, and those of each stem."""
    messages = line.pending_messages_per_session["a"] = queue.Queue()
    beat = {"kind": "beat", "pcm": "x" * 300_000, "stems": {"drums": "x" * 300_000, "bass": ["x" * 300_000, 3, None]}}
    for message in outbox.bounded(iter([beat] * 100), "a"):
        messages.put(message)
    assert messages.qsize() == MAX_BYTES // 900_004


def test_a_stream_that_is_heard_goes_on(line: Line, outbox: Outbox) -> None:
    messages = line.pending_messages_per_session["a"] = queue.Queue()
    made: list[int] = []
    for message in outbox.bounded(endless(made), "a"):
        messages.put(message)
        if messages.qsize() >= MAX_MESSAGES - 1:
            messages.get()
        if len(made) == 10 * MAX_MESSAGES:
            break
    assert len(made) == 10 * MAX_MESSAGES + 1 and made[-1] == -1


def test_a_file_is_made_as_long_as_somebody_waits_for_it(line: Line, outbox: Outbox) -> None:
    messages = line.pending_messages_per_session["a"] = queue.Queue()
    assert len(list(islice(outbox.heard(endless([]), "a"), 500))) == 500
    messages.put("starts")  # and nobody fetches it

    def slowly() -> Iterator[dict[str, Any]]:
        for message in endless([]):
            time.sleep(0.01)
            yield message

    with pytest.raises(RequestError, match="wasn't fetched"):
        list(outbox.heard(slowly(), "a"))


def test_what_waited_for_nobody_is_not_begun(line: Line, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop is not read for somebody who has not come while others had their turns."""
    monkeypatch.setattr(outbox_module, "FETCHED_S", 0.05)
    messages = line.pending_messages_per_session["a"] = queue.Queue()
    messages.put("process_starts")
    outbox.check_heard("a", time.monotonic())  # who has only just asked may still come
    asked_s = time.monotonic() - 1.0
    with pytest.raises(RequestError, match="wasn't fetched"):
        outbox.check_heard("a", asked_s)
    messages.get()
    outbox.check_heard("a", asked_s)


def test_what_is_left_of_a_stream_goes_but_never_a_running_ones(line: Line, outbox: Outbox) -> None:
    for reader in ("ended", "running", "queued"):
        line.pending_messages_per_session[reader] = queue.Queue()
        line.pending_event_ids_session[reader] = {f"event of {reader}"}
        line.event_ids_to_events[f"event of {reader}"] = object()
    line.active_jobs[1] = [SimpleNamespace(session_hash="running")]
    line.event_queue_per_concurrency_id["0"] = SimpleNamespace(queue=[SimpleNamespace(session_hash="queued")])
    outbox.sweep(now_s=0.0)
    outbox.sweep(now_s=KEPT_S)
    assert set(line.pending_messages_per_session) == {"ended", "running", "queued"}
    outbox.sweep(now_s=KEPT_S + 1)
    for left in (line.pending_messages_per_session, line.pending_event_ids_session):
        assert set(left) == {"running", "queued"}
    assert set(line.event_ids_to_events) == {"event of running", "event of queued"}
    line.active_jobs[1] = None
    outbox.sweep(now_s=1_000.0)  # its minute begins now
    assert "running" in line.pending_messages_per_session
    outbox.sweep(now_s=1_000.0 + KEPT_S + 1)
    assert "running" not in line.pending_messages_per_session
