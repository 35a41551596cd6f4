"""What a stranger may try with the page's server, and what comes of it (SECURITY.md)."""

import asyncio
import http.server
import json
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

from melformer.audio.io import write_waveform
from melformer.ui.middleware import Guard, names_an_address

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
            assert httpx.get(f"{api}/{way}{address}").status_code == 403
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        for loop in (file, {**file, "path": f" {address}"}, {"url": address}, address):
            assert "event: error" in ask(api, loop)
    assert seen == []


def test_escaped_addresses_are_addresses() -> None:
    assert names_an_address(b'{"data": [[{"path": "\\u0068ttp://example.com/a.wav"}]]}')
    assert names_an_address(b'{"data": [{"x": {"path": "//example.com/a.wav"}}]}')
    assert not names_an_address(b'{"data": [{"path": "/tmp/gradio/a.wav", "url": "http://127.0.0.1:7860/a.wav"}]}')
    assert not names_an_address(b"[" * 100_000)


def test_too_large_an_upload_is_refused_and_not_kept(server: Server, api: str, loop: bytes) -> None:
    uploads = server.sessions.folder.parent
    before = sum(path.stat().st_size for path in uploads.rglob("*") if path.is_file())
    assert upload(api, bytes(3 * 2**20)).status_code == 413
    after = sum(path.stat().st_size for path in uploads.rglob("*") if path.is_file())
    assert after - before < 2**20
    assert upload(api, loop).status_code == 200


def test_too_large_a_request_is_refused(api: str) -> None:
    answer = httpx.post(f"{api}/call/continue_whole", content=b'{"data": "' + bytes(2**21) + b'"}', timeout=30)
    assert answer.status_code == 413


def test_a_request_that_dawdles_is_ended() -> None:
    """Its body never comes: the guard does not wait for ever, for uploads neither."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def never() -> Any:
        await asyncio.sleep(3600)

    async def one_answer(path: str) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        guard = Guard(served, idle_s=0.01)
        await guard({"type": "http", "method": "POST", "path": path}, never, send)
        return sent[0]["status"]

    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        assert asyncio.run(one_answer(path)) == 408


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
    if answer.status_code == 200:
        served = httpx.get(f"{api}/file={answer.json()[0]}")
        assert served.status_code != 200 or served.headers["content-disposition"].startswith("attachment")


def test_names_of_uploads_stay_in_their_folder(server: Server, api: str, loop: bytes) -> None:
    uploads = server.sessions.folder.parent.resolve()
    for name in ("../../evil.wav", "/etc/evil.wav", "..\\evil.wav", "a\0b.wav", "<b>x</b>.wav", "x" * 5_000 + ".wav"):
        answer = upload(api, loop, name)
        for path in answer.json() if answer.status_code == 200 else []:
            assert Path(path).resolve().is_relative_to(uploads)
            assert not set(Path(path).name) & set('<>"\0/')


def test_many_requests_at_once_are_queued_or_refused(server: Server, api: str, loop: bytes) -> None:
    (path,) = upload(api, loop).json()
    answers: list[str] = []
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    threads = [threading.Thread(target=lambda: answers.append(ask(api, file))) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 24
    assert all(("event: complete" in answer) != ("event: error" in answer) for answer in answers)
    assert any("event: complete" in answer for answer in answers)
    assert len(server.sessions) == 0  # each has ended, and its session with it
    assert server.sessions.scheduler.n_playing == server.sessions.scheduler.n_waiting == 0


def test_sessions_are_bounded(server: Server) -> None:
    tokens = [server.sessions.create() for _ in range(100)]
    assert len(server.sessions) == 8
    assert len(set(tokens)) == 100
    assert min(map(len, tokens)) >= 32  # 24 random bytes: nobody guesses one
    assert len(list(server.sessions.folder.iterdir())) <= 8 + len(server.sessions._leftovers)
    for token in tokens:
        server.sessions.forget(token)


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_other_sites_cannot_use_a_visitors_browser(api: str, origin: str) -> None:
    answer = httpx.get(f"{api}/info", headers={"Origin": origin, "Cookie": "a=b"})
    assert answer.headers.get("access-control-allow-origin") not in (origin, "*")


def test_an_answer_tells_nothing_of_the_host(api: str) -> None:
    answer = httpx.post(f"{api}/call/continue_whole", content=b"{", headers={"content-type": "application/json"})
    assert "Traceback" not in answer.text and "/site-packages/" not in answer.text
    assert "Traceback" not in ask(api, json.loads('{"path": {"a": [1]}}'))
