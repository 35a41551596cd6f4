"""Calls of the API over plain HTTP: missing values take their defaults, and a wrong number of them is told in words."""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CALL = re.compile(r"/gradio_api/call/(?:v2/)?(\w{1,64})/?")


class ApiCalls:
    """An ASGI middleware before Gradio, which answers `{"error": null}` to a list of values that is too short."""

    def __init__(self, app: Any, endpoints: Mapping[str, Callable[..., Any]]) -> None:
        self.app = app
        self.endpoints = {name: _parameters(function) for name, function in endpoints.items()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        call = _CALL.fullmatch(scope.get("path", "")) if scope["type"] == "http" and scope["method"] == "POST" else None
        if call is None or call.group(1) not in self.endpoints:
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        try:
            body = complete(body, self.endpoints[call.group(1)])
        except ValueError as error:
            await _refuse(send, str(error))
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app({**scope, "headers": headers}, replay, send)


def complete(body: bytes, parameters: list[inspect.Parameter]) -> bytes:
    """A call's JSON with the defaults of the values that it leaves out. Errors: ValueError, a sentence."""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError('A call is a JSON object: {"data": [values]}.') from None
    values = call.get("data") if isinstance(call, dict) else None
    if not isinstance(values, list):
        if isinstance(call, dict) and "data" not in call:
            return body  # values by name, which Gradio completes itself
        raise ValueError('A call is a JSON object: {"data": [values]}.')
    names = ", ".join(one.name for one in parameters)
    if len(values) > len(parameters):
        raise ValueError(f"{len(values)} values are too many: this call takes {len(parameters)} ({names}).")
    missing = parameters[len(values) :]
    needed = [one.name for one in missing if one.default is inspect.Parameter.empty]
    if needed:
        raise ValueError(f"{' and '.join(needed)} must be given: the values are {names}, in this order.")
    return json.dumps({**call, "data": [*values, *(one.default for one in missing)]}).encode()


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """What a caller gives: Gradio fills `request` in by itself."""
    return [one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "request")]


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


async def _refuse(send: Send, words: str) -> None:
    body = json.dumps({"error": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 422, "headers": headers})
    await send({"type": "http.response.body", "body": body})
