"""The guard before Gradio: which requests reach it, how large and how slow they may be, and how answers leave."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from melformer.ui.host import middleware
from melformer.ui.host.middleware import API, PIECE_BYTES, UPLOAD, Guard, names_a_foreign_file

UPLOADS = Path("/srv/uploads")
JSON = ((b"content-type", b"application/json"),)
FORM = ((b"content-type", b"multipart/form-data; boundary=x"),)


class Application:
    """What stands behind the guard: reads the body to its end and answers; remembers what it was asked."""

    def __init__(self, answer: bytes = b"ok") -> None:
        self.answer, self.paths, self.bodies = answer, [], []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.answer})


def ask(
    app: Any, method: str, path: str, headers: Any = (), body: Any = (b"{}",), pause_s: float = 0.0, **options: Any
) -> list[dict[str, Any]]:
    """The messages that come back for a request whose body arrives in pieces, each after a pause."""
    guard = app if isinstance(app, Guard) else Guard(app, UPLOADS, **{"max_upload_bytes": 10_000, **options})
    pieces, sent = list(body), []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        if not pieces:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers), "query_string": b""}
    asyncio.run(asyncio.wait_for(guard(scope, receive, send), 20))
    return sent


def status(*args: Any, **options: Any) -> int:
    return ask(*args, **options)[0]["status"]


@pytest.mark.parametrize("path", [
    "/", "/config", "/theme.css", "/favicon.ico", "/assets/index-1a.js", "/static/js/a.min.js", f"{API}/info",
    f"{API}/queue/data", f"{API}/heartbeat/ab12", f"{API}/file=/srv/uploads/a/loop 120bpm.wav",
    f"{API}/call/continue/0123abcd", f"{API}/call/continue_whole/0123abcd", f"{API}/startup-events",
])  # fmt: skip
def test_what_the_page_reads_reaches_gradio(path: str) -> None:
    app = Application()
    assert status(app, "GET", path) == 200 and app.paths == [path]


@pytest.mark.parametrize("path", [
    f"{API}/queue/join", f"{API}/component_server", f"{API}/component_server/", f"{API}/cancel", f"{API}/reset",
    f"{API}/call/continue", f"{API}/call/continue_whole", UPLOAD,
])  # fmt: skip
def test_what_the_page_asks_reaches_gradio(path: str) -> None:
    app = Application()
    assert status(app, "POST", path, FORM if path == UPLOAD else JSON) == 200 and app.paths == [path]


@pytest.mark.parametrize(("method", "path"), [
    ("POST", f"{API}/run/upload"), ("POST", f"{API}/api/upload"), ("POST", f"{API}/call/upload"),
    ("POST", f"{API}/run/predict"), ("POST", f"{API}/call/play"), ("POST", f"{API}/process_recording"),
    ("POST", f"{API}/stream/upload"), ("POST", "/upload"), ("POST", f"{UPLOAD}/"), ("POST", f"/x{UPLOAD}"),
    ("POST", f"{API}/vibe-edit"), ("POST", f"{API}/vibe-code"), ("POST", "/login"), ("GET", "/monitoring"),
    ("GET", "/monitoring/summary"), ("GET", "/monitoring/key"), ("GET", f"{API}/upload_progress"), ("GET", UPLOAD),
    ("GET", f"{API}/proxy=http://example.com/a"), ("GET", f"{API}/file=http://example.com/a.wav"),
    ("GET", f"{API}/file=//example.com/a.wav"), ("GET", f"{API}/file/etc/passwd"), ("GET", "/svelte/a.js"),
    ("GET", f"{API}/deep_link"), ("GET", f"{API}/runs"), ("GET", f"{API}/openapi.json"), ("GET", "/docs"),
    ("PUT", "/"), ("DELETE", f"{API}/queue/join"), ("OPTIONS", f"{API}/queue/join"), ("GET", f"{API}/queue/join"),
])  # fmt: skip
def test_everything_else_is_refused(method: str, path: str) -> None:
    app = Application()
    assert status(app, method, path, JSON) == 404 and app.paths == []


def test_a_request_has_a_size() -> None:
    """Declared or not, at once or in pieces, also behind a path that only looks like the upload's."""
    for path, headers, most in ((f"{API}/queue/join", JSON, 1_000), (UPLOAD, FORM, 10_000)):
        app = Application()
        assert status(app, "POST", path, headers, [b"{}" + b" " * (most - 2)], max_bytes=1_000) == 200
        assert status(app, "POST", path, headers, [b" " * (most + 1)], max_bytes=1_000) == 413
        assert status(app, "POST", path, headers, [b" " * 400] * (most // 400 + 1), max_bytes=1_000) == 413
        assert len(app.bodies) == 1


def test_a_request_that_stops_in_its_middle_is_ended() -> None:
    for path, headers in ((f"{API}/queue/join", JSON), (UPLOAD, FORM)):
        sent = ask(Application(), "POST", path, headers, [b"{", b"}"], pause_s=0.2, idle_s=0.1)
        assert sent[0]["status"] == 408 and json.loads(sent[1]["body"])["detail"].startswith("The request stalled")


def test_a_request_that_trickles_is_ended() -> None:
    """A byte now and then is no pause; it is still slower than any line."""
    app = Application()
    assert status(app, "POST", UPLOAD, FORM, [b"x"] * 100, pause_s=0.01, idle_s=0.3) == 408
    assert app.bodies == []


def test_only_json_is_called_json() -> None:
    app = Application()
    assert status(app, "POST", f"{API}/queue/join", ((b"content-type", b"text/plain"),)) == 415
    assert status(app, "POST", f"{API}/component_server", FORM) == 415
    assert status(app, "POST", UPLOAD, JSON) == 415
    for body in (b"[1]", b"nonsense", b"[" * 100_000, b"\xff"):
        assert status(app, "POST", f"{API}/queue/join", JSON, [body]) == 400
    assert app.paths == []


def test_another_sites_page_may_not_ask() -> None:
    app = Application()
    for site, expected in ((b"cross-site", 403), (b"same-origin", 200), (b"none", 200)):
        for path, headers in ((f"{API}/queue/join", JSON), (UPLOAD, FORM)):
            assert status(app, "POST", path, (*headers, (b"sec-fetch-site", site))) == expected


def test_gradio_hears_of_no_origin() -> None:
    """It would let that origin in, with credentials, wherever the page has a public name."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    assert status(app, "GET", "/config", ((b"host", b"melformer.example"), (b"origin", b"https://evil.example"))) == 200
    assert seen == [(b"host", b"melformer.example")]


@pytest.mark.parametrize("path", [
    "http://example.com/a.wav", "HTTPS://example.org/a.wav", "//example.com/a.wav", "file:///etc/passwd", "/etc/passwd",
    "/srv/uploads/../a.wav", "/srv/uploads2/a.wav", "/srv/uploads/a\0b", "a.wav", "", 3, ["/srv/uploads/a.wav"],
])  # fmt: skip
def test_only_uploaded_files_are_named(path: Any) -> None:
    app = Application()
    for data in ({"data": [{"path": path}]}, {"data": [{"x": [{"path": "/srv/uploads/a.wav"}, {"path": path}]}]}):
        body = json.dumps(data).encode()
        assert status(app, "POST", f"{API}/call/continue", JSON, [body]) == 403
    assert app.paths == []
    assert names_a_foreign_file(json.loads('{"\\u0070ath": "/etc/passwd"}'), UPLOADS)


def test_an_uploaded_file_is_named() -> None:
    app, data = Application(), {"data": [{"path": "/srv/uploads/a/b.wav", "url": "http://127.0.0.1/a.wav"}, None]}
    assert status(app, "POST", f"{API}/call/continue", JSON, [json.dumps(data).encode()]) == 200
    assert json.loads(app.bodies[0]) == data


def test_answers_leave_in_pieces() -> None:
    """So that no more than a piece waits in memory for a slow reader."""
    answer = bytes(range(256)) * 1024
    start, *rest = ask(Application(answer), "POST", f"{API}/component_server", JSON)
    assert start["status"] == 200 and b"".join(one["body"] for one in rest) == answer
    assert max(len(one["body"]) for one in rest) == PIECE_BYTES
    assert [one.get("more_body", False) for one in rest] == [True] * (len(rest) - 1) + [False]


@pytest.mark.parametrize(("method", "path", "headers", "limit"), [
    ("POST", f"{API}/component_server", JSON, "MAX_ANSWERS"), ("POST", UPLOAD, FORM, "MAX_UPLOADS"),
    ("GET", f"{API}/queue/data", (), "MAX_STREAMS"), ("GET", f"{API}/heartbeat/a", (), "MAX_STREAMS"),
])  # fmt: skip
def test_requests_at_once_are_bounded(method: str, path: str, headers: Any, limit: str) -> None:
    """The next one gets a sentence and a waiting time; when one has ended there is room again."""
    most, answers = getattr(middleware, limit), []

    async def meet() -> None:
        leave = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await leave.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        guard = Guard(app, UPLOADS, 10_000)

        async def one() -> None:
            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b"{}"}

            async def send(message: Any) -> None:
                answers.append(message)

            await guard({"type": "http", "method": method, "path": path, "headers": list(headers)}, receive, send)

        tasks = [asyncio.create_task(one()) for _ in range(most)]
        await asyncio.sleep(0)
        await asyncio.wait_for(one(), 20.0)  # refused at once: who is let in would wait for `leave`
        leave.set()
        await asyncio.gather(*tasks)
        await one()

    asyncio.run(meet())
    statuses = [message["status"] for message in answers if "status" in message]
    assert sorted(statuses) == [200] * (most + 1) + [503] and statuses[0] == 503
    assert (b"retry-after", b"10") in answers[0]["headers"]
    assert "10 seconds" in json.loads(answers[1]["body"])["detail"]


def test_web_sockets_are_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(Application(), UPLOADS, 1)({"type": "websocket", "path": "/"}, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1000}]
