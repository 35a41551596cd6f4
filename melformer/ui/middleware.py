"""What the page's server refuses before Gradio sees it: other machines' addresses, huge requests, and dawdlers."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_REQUEST_BYTES = 2**20
"""Of everything but an upload, whose size Gradio checks: the page's own requests have a few kilobytes."""
IDLE_S = 30.0
"""How long a request may pause in its middle."""
_ELSEWHERE = re.compile(r"/(?:file[=/]\s*\w+:/|proxy=)", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*(?:\w+:)?//", re.ASCII)


class Guard:
    """An ASGI middleware.

    Gradio fetches what a request names by `http://…`, as a file's path or behind `/file=`. It keeps away from internal
    addresses, but anyone could still fetch through the host, and fill its disk: the page never needs it.
    """

    def __init__(self, app: Any, max_bytes: int = MAX_REQUEST_BYTES, idle_s: float = IDLE_S) -> None:
        self.app, self.max_bytes, self.idle_s = app, max_bytes, idle_s

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _ELSEWHERE.search(scope["path"]):
            await _refuse(send, 403, "Nothing is fetched from other machines.")
            return
        in_time = _InTime(receive, self.idle_s)
        try:
            if scope["method"] != "POST" or scope["path"].rstrip("/").endswith("/upload"):
                await self.app(scope, in_time, send)
                return
            body = await self._read(in_time)
            if body is None:
                await _refuse(send, 413, f"A request may have {self.max_bytes:,} bytes; send a loop by /upload.")
            elif names_an_address(body):
                await _refuse(send, 403, "Upload the loop; nothing is fetched from other machines.")
            else:
                await self.app(scope, _Replay(body, receive), send)
        except ClientDisconnect:  # nobody is there to be told
            return
        except TimeoutError:
            await _refuse(send, 408, f"Nothing arrived for {self.idle_s:g} seconds.")

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None when it is too long."""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self.max_bytes:
                return None
            if message["type"] != "http.request" or not message.get("more_body"):
                return bytes(body)


class _InTime:
    """A request's messages; waiting too long for the rest of a body raises TimeoutError."""

    def __init__(self, receive: Receive, idle_s: float) -> None:
        self.receive, self.idle_s, self.more = receive, idle_s, True

    async def __call__(self) -> Message:
        if not self.more:  # what follows is only the end of the connection
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), self.idle_s)
        except asyncio.TimeoutError as error:  # its own class before Python 3.11
            raise TimeoutError from error
        self.more = message["type"] == "http.request" and bool(message.get("more_body"))
        return message


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


def names_an_address(body: bytes) -> bool:
    """Whether a JSON request has a file whose path is an address; what is no JSON is left to Gradio to refuse."""
    try:
        waiting = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and _ADDRESS.match(path):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


async def _refuse(send: Send, status: int, words: str) -> None:
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
               (b"connection", b"close")]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
