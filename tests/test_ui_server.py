"""The page's server: connections that do not come to the point, readers that do not read, and where it is served."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from melformer.errors import ConfigError
from melformer.ui.host.server import PORT, BoundedProtocol, PageServer, bind

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
N_BYTES = 64 * 2**20


async def application(scope: Any, receive: Any, send: Any) -> None:
    """`/large` answers 64 MB in pieces, everything else a word."""
    if scope["type"] == "lifespan":
        for name in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{name}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(N_BYTES // 65_536 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
    await send({"type": "http.response.body", "body": b"word"})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageServer]:
    monkeypatch.setattr(BoundedProtocol, "headers_s", 1.0)
    monkeypatch.setattr(BoundedProtocol, "stall_s", 1.0)
    monkeypatch.setattr(BoundedProtocol, "max_connections", 8)
    server = PageServer(application, bind({"GRADIO_SERVER_PORT": "0"}))
    server.start()
    yield server
    server.stop()


def connect(server: PageServer, data: bytes = b"") -> socket.socket:
    host, port = server.url.split("/")[2].split(":")
    connection = socket.create_connection((host, int(port)), 20)
    connection.sendall(data)
    return connection


def until_closed(connection: socket.socket) -> bytes:
    """What arrives until the server closes the connection; fails after 20 s."""
    heard = b""
    try:
        while piece := connection.recv(65_536):
            heard += piece
    except ConnectionResetError:
        pass
    return heard


def test_a_request_is_answered(server: PageServer) -> None:
    assert b"word" in until_closed(connect(server, REQUEST))


@pytest.mark.parametrize("head", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_half_a_head_is_not_waited_for(server: PageServer, head: bytes) -> None:
    assert until_closed(connect(server, head)) == b""


def test_half_a_second_head_is_not_waited_for_either(server: PageServer) -> None:
    connection = connect(server, REQUEST)
    assert connection.recv(65_536)
    connection.sendall(b"GET / HT")
    assert b"200" not in until_closed(connection)


def test_a_head_that_trickles_is_not_waited_for(server: PageServer) -> None:
    connection = connect(server, b"GET / HTTP/1.1\r\n")

    def trickle() -> None:
        for k in range(200):
            time.sleep(0.05)
            connection.sendall(f"X-{k}: a\r\n".encode())

    with pytest.raises(OSError, match=r"reset|pipe"):
        trickle()


def test_a_reader_that_stalls_is_left(server: PageServer) -> None:
    """What it has not taken is gone from memory with the connection."""
    connection = connect(server, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(3.0)
    assert len(until_closed(connection)) < N_BYTES / 2


def test_a_slow_reader_that_reads_has_all_of_it(server: PageServer) -> None:
    connection, n_bytes = connect(server, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 0
    while piece := connection.recv(4 * 2**20):
        n_bytes += len(piece)
        time.sleep(0.01)
    assert n_bytes > N_BYTES


def test_connections_are_bounded(server: PageServer) -> None:
    held = [connect(server) for _ in range(8)]
    time.sleep(0.3)
    assert until_closed(connect(server, REQUEST)) == b""
    for connection in held:
        connection.close()
    time.sleep(0.3)
    assert b"word" in until_closed(connect(server, REQUEST))


def test_where_it_is_served() -> None:
    with bind({"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": "0"}) as bound:
        host, port = bound.getsockname()
        assert host == "127.0.0.1" and port > 0 and PORT == 7860
        with pytest.raises(ConfigError, match=f"Port {port} is taken; set GRADIO_SERVER_PORT"):
            bind({"GRADIO_SERVER_PORT": str(port)})
    with bind({"SPACE_ID": "a/b", "GRADIO_SERVER_PORT": "0"}) as bound:
        assert bound.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize(("name", "port", "words"), [
    ("127.0.0.1", "many", "GRADIO_SERVER_PORT is 'many'"), ("127.0.0.1", "99999", "GRADIO_SERVER_PORT is '99999'"),
    ("no such name", "0", "GRADIO_SERVER_NAME is 'no such name'"), ("256.0.0.1", "0", "GRADIO_SERVER_NAME"),
    ("192.0.2.1", "0", "192.0.2.1"), ("x" * 300, "0", "GRADIO_SERVER_NAME"),
])  # fmt: skip
def test_a_wrong_address_is_told_as_such(name: str, port: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        bind({"GRADIO_SERVER_NAME": name, "GRADIO_SERVER_PORT": port})
    assert "taken" not in str(caught.value)
