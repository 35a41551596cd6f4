"""The head of the page's HTML: a name, a description and an icon of its own where Gradio's template has Gradio's."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CARD = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')
_HEAD = re.compile(rb"<head>")


class PageHead:
    """An ASGI middleware that rewrites the answer to `GET /`.

    Gradio's template describes the page as "Gradio" to whoever shows a link to it, before the tags that it fills from
    the page's own title; the first one counts, so all of them go, and ours come in their place.
    """

    def __init__(self, app: Any, title: str, description: str) -> None:
        self.app = app
        tags = [("og:title", title), ("og:description", description), ("og:type", "website")]
        self.tags = "".join(f'<meta property="{name}" content="{value}">' for name, value in tags).encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def gather(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body") and start is not None:
                await self._send(start, bytes(body), send)

        await self.app(scope, receive, gather)

    async def _send(self, start: Message, body: bytes, send: Send) -> None:
        headers = list(start.get("headers", ()))
        if dict(headers).get(b"content-type", b"").startswith(b"text/html"):
            body = _HEAD.sub(b"<head>" + self.tags, _CARD.sub(b"", body), count=1)
            headers = [(name, value) for name, value in headers if name != b"content-length"]
            headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": body})
