"""What the page's server refuses before Gradio sees it: all that the page does not need, and whoever dawdles."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

API = "/gradio_api"
UPLOAD = f"{API}/upload"
MAX_REQUEST_BYTES = 2**20
"""Of everything but an upload, which has a limit of its own: the page's requests have a few kilobytes."""
IDLE_S = 30.0
"""How long a request may pause in its middle."""
MIN_BYTES_PER_S = 16_384
"""A body that comes more slowly than this is ended, once it has had `IDLE_S`."""
PIECE_BYTES = 65_536
"""An answer is handed over in pieces, each when the one before has left: a slow reader holds one, not all."""
MAX_ANSWERS = 64
"""Answers of the page's calls that are being made or sent at once."""
MAX_STREAMS = 256
"""Event streams open at once."""
MAX_UPLOADS = 64
"""Uploads that come in at once."""

_ENDPOINT = r"(?:continue|continue_whole|takes|stems)"
_EVENT = r"[0-9a-zA-Z]{1,64}"
_GET = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(?:assets|static)/[\w./@+-]{{1,300}}"
    rf"|{API}/(?:info/?|theme\.css|startup-events|queue/data|heartbeat/{_EVENT}"
    rf"|file=(?!\s*//)(?:[A-Za-z]:)?[^:]{{1,2000}}"
    rf"|call/(?:v2/)?{_ENDPOINT}/{_EVENT})"
)
_POST = re.compile(rf"{UPLOAD}|{API}/(?:queue/join|component_server/?|cancel|reset|call/(?:v2/)?{_ENDPOINT})")
_STREAM = re.compile(rf"{API}/(?:queue/data|heartbeat/.*|call/.*)")


class Guard:
    """An ASGI middleware that knows every path the page and the four endpoints need, and refuses the others.

    Gradio offers much more: it calls any function by name or number (`/run`, `/api`), records, monitors, edits its own
    source, fetches what a request names by `http://…`, and lets any body be as long as it likes.
    """

    def __init__(
        self, app: Any, uploads: Path, max_upload_bytes: int, max_bytes: int = MAX_REQUEST_BYTES, idle_s: float = IDLE_S
    ) -> None:
        """`uploads`: the only folder whose files a request may name."""
        self.app, self.uploads, self.idle_s = app, uploads.resolve(), idle_s
        self.max_upload_bytes, self.max_bytes = max_upload_bytes, max_bytes
        self._answers, self._streams, self._uploads = map(_Seats, (MAX_ANSWERS, MAX_STREAMS, MAX_UPLOADS))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:  # a web socket, which nothing here uses
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        refused = why_refused(scope)
        if refused is not None:
            await _refuse(send, *refused)
            return
        # Gradio gives any origin the right to ask, with credentials, unless its own host is a local one.
        scope["headers"] = [header for header in scope["headers"] if header[0] != b"origin"]
        path, sent = scope["path"], _Sender(send)
        limit = self.max_upload_bytes if path == UPLOAD else self.max_bytes
        in_time = _InTime(receive, self.idle_s, limit)
        seats = self._seats_for(scope["method"], path)
        if seats is not None and not seats.take():
            await _refuse(send, 503, "Too many requests at once. Please try again in 10 seconds.", 10)
            return
        try:
            if scope["method"] == "POST" and path != UPLOAD:
                await self._serve_json(scope, in_time, sent)
            else:
                await self.app(scope, in_time, sent)
        except ClientDisconnect:  # nobody is there to be told
            return
        except TooLong:
            what = "An upload" if path == UPLOAD else "A request"
            await sent.refuse(413, f"{what} can be up to {limit:,} bytes.")
        except TimeoutError:
            await sent.refuse(408, f"The request stalled for more than {self.idle_s:g} seconds. Please send it again.")
        finally:
            if seats is not None:
                seats.free()

    def _seats_for(self, method: str, path: str) -> "_Seats | None":
        if method == "POST":
            return self._uploads if path == UPLOAD else self._answers
        return self._streams if _STREAM.fullmatch(path) else None

    async def _serve_json(self, scope: Message, receive: Receive, send: "_Sender") -> None:
        body = await _read(receive)
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            await send.refuse(400, "The request isn't valid JSON.")
            return
        if not isinstance(data, dict):
            await send.refuse(400, "The request must be a JSON object.")
        elif names_a_foreign_file(data, self.uploads):
            await send.refuse(403, "Upload the file first: other paths and web addresses aren't accepted.")
        else:
            await self.app(scope, _Replay(body, receive), send)


def why_refused(scope: Message) -> tuple[int, str] | None:
    """Status and words for a request that is not served; None for one that is."""
    method, path = scope["method"], scope["path"]
    headers = dict(scope.get("headers", ()))
    if method in ("GET", "HEAD"):
        return None if _GET.fullmatch(path) else (404, "Not found.")
    if method != "POST" or not _POST.fullmatch(path):
        return 404, "Not found."
    if headers.get(b"sec-fetch-site") == b"cross-site":
        return 403, "Requests from other sites aren't allowed."
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != (b"multipart/form-data" if path == UPLOAD else b"application/json"):
        return 415, "Send a loop as multipart/form-data, everything else as application/json."
    return None


def names_a_foreign_file(data: Any, uploads: Path) -> bool:
    """Whether a request names a file, at any depth, that was not uploaded here: an address, a file of the host."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if path is not None and not _is_below(path, uploads):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def _is_below(path: Any, folder: Path) -> bool:
    try:
        return isinstance(path, str) and Path(path).resolve().is_relative_to(folder)
    except (ValueError, OSError):  # no path can hold a zero, nor be of any length
        return False


class TooLong(Exception):
    """A body is longer than its limit."""


class _Seats:
    """A count that is bounded; only the event loop's own thread touches it."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    def take(self) -> bool:
        if self.taken >= self.most:
            return False
        self.taken += 1
        return True

    def free(self) -> None:
        self.taken -= 1


class _InTime:
    """A request's messages: TooLong when the body is, TimeoutError when it pauses or trickles."""

    def __init__(self, receive: Receive, idle_s: float, max_bytes: int) -> None:
        self.receive, self.idle_s, self.max_bytes = receive, idle_s, max_bytes
        self.more, self.n_bytes, self.began_s = True, 0, time.monotonic()

    async def __call__(self) -> Message:
        if not self.more:  # what follows is only the end of the connection
            return await self.receive()
        left_s = self.began_s + self.idle_s + self.n_bytes / MIN_BYTES_PER_S - time.monotonic()
        try:
            message = await asyncio.wait_for(self.receive(), max(0.0, min(self.idle_s, left_s)))
        except asyncio.TimeoutError as error:  # its own class before Python 3.11
            raise TimeoutError from error
        self.n_bytes += len(message.get("body", b""))
        if self.n_bytes > self.max_bytes:
            raise TooLong
        self.more = message["type"] == "http.request" and bool(message.get("more_body"))
        return message


class _Sender:
    """Hands an answer over in pieces, and refuses only while none has begun."""

    def __init__(self, send: Send) -> None:
        self.send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) <= PIECE_BYTES:
            await self.send(message)
            return
        for start in range(0, len(body), PIECE_BYTES):
            last = start + PIECE_BYTES >= len(body)
            piece = {"type": message["type"], "body": body[start : start + PIECE_BYTES]}
            await self.send({**piece, "more_body": bool(message.get("more_body")) or not last})

    async def refuse(self, status: int, words: str) -> None:
        if not self.begun:
            await _refuse(self.send, status, words)


class _Replay:
    """A body that was read already, then whatever comes."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> Message:
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def _refuse(send: Send, status: int, words: str, retry_after_s: int | None = None) -> None:
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
               (b"connection", b"close")]  # fmt: skip
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
