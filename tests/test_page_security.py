"""What a stranger may try with the page's server, and what comes of it (SECURITY.md)."""

import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from page_double import Model, loop_samples
from page_server import Server, serving
from starlette.routing import Mount

from melformer.audio.io import write_waveform
from melformer.ui.host.middleware import API, UPLOAD, why_refused
from melformer.ui.host.outbox import KEPT_S, MAX_MESSAGES

WISH = [1, 0, None, 1.0, 0.5, "whole", "wav", False]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield from _serve()


def _serve() -> Iterator[Server]:
    with serving(Model(compute_s=0.0), upload_mb=1, queue=4, sessions=8) as server:
        yield server


@pytest.fixture
def api(server: Server) -> str:
    return f"{server.url}/gradio_api"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("security") / "click_150bpm.wav"
    write_waveform(path, loop_samples(4, 150.0, 8_000))
    return path.read_bytes()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """Another server of the host, the requests it got, and the names that anybody here looked up."""
    seen: list[str] = []

    class Secret(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    look_up = socket.getaddrinfo

    def noted(host: Any, *args: Any, **options: Any) -> Any:
        if "example" in str(host):
            seen.append(str(host))
            raise OSError("no network in tests")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Secret) as secret:
        threading.Thread(target=secret.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{secret.server_port}", seen
        secret.shutdown()


def upload(api: str, data: bytes, name: str = "click_150bpm.wav") -> httpx.Response:
    return httpx.post(f"{api}/upload", files={"files": (name, data)}, timeout=30)


def ask(api: str, loop: Any) -> str:
    """What `/continue_whole` answers: its events, or the refusal."""
    answer = httpx.post(f"{api}/call/continue_whole", json={"data": [loop, *WISH]}, timeout=30)
    if answer.status_code != 200:
        return f"event: error {answer.status_code} {answer.text}"
    return httpx.get(f"{api}/call/continue_whole/{answer.json()['event_id']}", timeout=60).text


def test_an_upload_is_continued(api: str, loop: bytes) -> None:
    (path,) = upload(api, loop).json()
    assert "event: complete" in ask(api, {"path": path, "meta": {"_type": "gradio.FileData"}})


@pytest.mark.parametrize("path", [
    "/etc/passwd", "/proc/self/environ", "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "file:///etc/passwd",
    str(Path(__file__).resolve().parents[1] / "pyproject.toml"), "pyproject.toml", "/tmp/gradio/../../etc/passwd",
])  # fmt: skip
def test_files_of_the_host_are_not_served(api: str, path: str) -> None:
    for way in ("file=", "file/"):
        answer = httpx.get(f"{api}/{way}{path}")
        assert answer.status_code in (403, 404, 422), answer.text[:200]
    for loop in ({"path": path}, {"path": path, "meta": {"_type": "gradio.FileData"}}):
        answer = ask(api, loop)
        assert "event: error" in answer
        assert "root:" not in answer


def test_nothing_is_fetched_for_a_stranger(api: str, elsewhere: tuple[str, list[str]]) -> None:
    url, seen = elsewhere
    for address in (f"{url}/a.wav", "http://example.com/a.wav", "HTTPS://example.org/a.wav"):
        for way in ("file=", "file/", "proxy="):
            assert httpx.get(f"{api}/{way}{address}").status_code == 404
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        for loop in (file, {**file, "path": f" {address}"}, {"url": address}, address):
            assert "event: error" in ask(api, loop)
    assert seen == []


def test_too_large_an_upload_is_refused_and_not_kept(server: Server, api: str, loop: bytes) -> None:
    def kept() -> int:
        return sum(path.stat().st_size for path in server.page.workspace.uploads.rglob("*") if path.is_file())

    before = kept()
    for name in ("a.wav", None):  # as a file, and as a field, which has no name
        assert httpx.post(f"{api}/upload", files={"files": (name, bytes(3 * 2**20))}, timeout=30).status_code == 413
        assert kept() == before
    assert upload(api, loop).status_code == 200
    assert kept() == before + len(loop)


@pytest.mark.parametrize("path", ["call/continue_whole", "queue/join", "component_server/"])
def test_too_large_a_request_is_refused(api: str, path: str) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{api}/{path}", content=b'{"data": "' + bytes(2**21) + b'"}', headers=headers, timeout=30)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["run/upload", "api/upload", "call/upload", "run/continue", "api/predict", "upload/"])
@pytest.mark.parametrize("host", ["127.0.0.1", "melformer.example"])
def test_gradios_other_ways_in_are_closed(
    server: Server, api: str, elsewhere: tuple[str, list[str]], path: str, host: str
) -> None:
    """Each would run a function by its number, whatever it is called in the path."""
    url, seen = elsewhere
    n_sessions = len(server.sessions)
    for k in range(4):
        data = [{"path": f"{url}/a.wav", "meta": {"_type": "gradio.FileData"}}, *WISH]
        body = {"fn_index": k, "data": data, "session_hash": "a"}
        answer = httpx.post(f"{api}/{path}", json=body, headers={"Host": host}, timeout=30)
        assert answer.status_code == 404
    assert seen == [] and len(server.sessions) == n_sessions


def routes_of(routes: list[Any]) -> Iterator[Any]:
    """Routes, and those of the routers among them: newer FastAPI keeps an included router whole."""
    for route in routes:
        included = getattr(route, "original_router", None)
        yield from [route] if included is None else routes_of(included.routes)


def test_all_routes_of_gradio_are_known_or_refused(server: Server) -> None:
    """A new version may bring new ones: whatever is not needed stays closed."""
    from fastapi.routing import APIRoute

    (gradio,) = [route.app for route in server.app.routes if isinstance(route, Mount)]
    routes = [route for route in routes_of(gradio.routes) if isinstance(route, APIRoute)]
    paths = {(method, route.path) for route in routes for method in route.methods}
    assert len(paths) > 50
    served = set()
    for method, path in paths:
        plain = re.sub(r"\{.*?\}", "a", path)
        kind = b"multipart/form-data" if plain == UPLOAD else b"application/json"
        if why_refused({"method": method, "path": plain, "headers": [(b"content-type", kind)]}) is None:
            served.add((method, path))
    assert served == {
        ("GET", "/"), ("HEAD", "/"), ("GET", "/config"), ("GET", "/config/"), ("GET", "/theme.css"),
        ("GET", "/favicon.ico"), ("GET", "/robots.txt"), ("GET", "/manifest.json"), ("GET", "/assets/{path:path}"),
        ("GET", "/static/{path:path}"), ("GET", f"{API}/info"), ("GET", f"{API}/info/"), ("GET", f"{API}/theme.css"),
        ("GET", f"{API}/startup-events"), ("GET", f"{API}/queue/data"), ("GET", f"{API}/heartbeat/{{session_hash}}"),
        ("GET", f"{API}/file={{path_or_url:path}}"), ("HEAD", f"{API}/file={{path_or_url:path}}"),
        ("POST", UPLOAD), ("POST", f"{API}/queue/join"), ("POST", f"{API}/component_server"),
        ("POST", f"{API}/component_server/"), ("POST", f"{API}/cancel"), ("POST", f"{API}/reset"),
    }  # fmt: skip


def test_events_that_nobody_fetches_are_ended_and_forgotten(server: Server, api: str, loop: bytes) -> None:
    """Four requests for 256 beats each, and nobody asks for an answer. On a busy machine one may be given up before its
    stream has begun."""
    (path,) = upload(api, loop).json()
    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, 256, *WISH[1:5], False]}
    outbox, readers, made = server.page.outbox, [], len(server.model.streams)
    for _ in range(4):
        readers.append(httpx.post(f"{api}/call/continue", json=body, timeout=30).json()["event_id"])
    queue, end = server.page.blocks._queue, time.monotonic() + 120
    while len(queue) or any(queue.active_jobs) or server.sessions.scheduler.n_playing:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(server.model.streams) > made
    assert all(stream.n_made <= MAX_MESSAGES for stream in server.model.streams[made:])
    assert all(outbox.n_waiting(reader) <= MAX_MESSAGES + 4 for reader in readers)
    while any(outbox.n_waiting(reader) for reader in readers):  # until Gradio has seen their end
        assert time.monotonic() < end
        outbox.sweep(now_s=time.monotonic())
        outbox.sweep(now_s=time.monotonic() + KEPT_S + 1)
        time.sleep(0.05)
    assert not set(readers) & set(queue.pending_messages_per_session)


def test_slow_uploads_hold_nobody_up(api: str, loop: bytes) -> None:
    host, port = api.split("/")[2].split(":")
    slow = []
    for _ in range(20):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n"
                           b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")  # fmt: skip
        slow.append(connection)
    began = time.monotonic()
    assert upload(api, loop).status_code == 200
    assert time.monotonic() - began < 20  # far less than the slow ones are given
    for connection in slow:
        connection.close()


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.html", "a.svg", "a.js", "a.htm"])
def test_uploads_are_never_run_by_a_browser(api: str, name: str) -> None:
    answer = upload(api, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", name)
    served = httpx.get(f"{api}/file={answer.json()[0]}")
    assert served.status_code == 200 and served.headers["content-disposition"].startswith("attachment")
    assert served.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("name", ["../../evil.wav", "/etc/evil.wav", "..\\evil.wav", "<b>.wav", "x" * 5_000 + ".wav"])
def test_names_of_uploads_stay_in_their_folder(server: Server, api: str, loop: bytes, name: str) -> None:
    (path,) = upload(api, loop, name).json()
    assert Path(path).parent.parent == server.page.workspace.uploads and Path(path).read_bytes() == loop
    assert not set(Path(path).name) & set('<>"\0/\\')


def test_many_requests_at_once_are_served_or_refused_with_a_sentence(server: Server, api: str, loop: bytes) -> None:
    """24 at a queue of 4: those that are let in get their file, each other one a sentence; nothing is left over."""
    (path,) = upload(api, loop).json()
    answers: list[str] = []
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    server.model.compute_s = 0.05  # so that they meet
    threads = [threading.Thread(target=lambda: answers.append(ask(api, file))) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    server.model.compute_s = 0.0
    complete = [answer for answer in answers if "event: complete" in answer]
    refused = [answer for answer in answers if "event: error" in answer]
    assert len(complete) + len(refused) == len(answers) == 24
    assert len(complete) >= 4 and refused
    assert all("lease try again in" in answer for answer in refused), refused
    assert len(server.sessions) == 0  # each has ended, and its session with it
    assert server.sessions.scheduler.n_playing == server.sessions.scheduler.n_waiting == 0


def test_sessions_are_bounded(server: Server) -> None:
    tokens = [server.sessions.create() for _ in range(100)]
    assert len(server.sessions) == 8
    assert len(set(tokens)) == 100
    assert min(map(len, tokens)) >= 32  # 24 random bytes: nobody guesses one
    for token in tokens:
        server.sessions.forget(token)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "melformer.example"])
@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_other_sites_get_no_permission(api: str, origin: str, host: str) -> None:
    """Whatever the host's name is: Gradio alone lets every origin in where it is not a local one."""
    headers = {"Origin": origin, "Host": host, "Cookie": "a=b"}
    for answer in (
        httpx.get(f"{api}/info", headers=headers),
        httpx.get(f"{api}/../config", headers=headers),
        httpx.post(f"{api}/queue/join", json={}, headers=headers),
        httpx.options(f"{api}/queue/join", headers={**headers, "Access-Control-Request-Method": "POST"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-allow")]
    asked = {**headers, "Sec-Fetch-Site": "cross-site"}
    assert httpx.post(f"{api}/queue/join", json={}, headers=asked).status_code == 403
    assert httpx.post(f"{api}/upload", files={"files": b"a"}, headers=asked).status_code == 403


def test_an_answer_tells_nothing_of_the_host(api: str) -> None:
    answer = httpx.post(f"{api}/call/continue_whole", content=b"{", headers={"content-type": "application/json"})
    assert "Traceback" not in answer.text and "/site-packages/" not in answer.text
    assert "Traceback" not in ask(api, json.loads('{"path": {"a": [1]}}'))
