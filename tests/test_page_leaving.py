"""Visitors of the API who go away at every stage: the model is free again, and nothing of theirs stays in the way."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from page_double import Model, loop_samples
from page_server import Server, serving

from melformer.audio.io import write_waveform


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with serving(Model(compute_s=0.02), players=1, queue=4) as server:
            yield server


@pytest.fixture(scope="module")
def path(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    loop = tmp_path_factory.mktemp("leaving") / "click_150bpm.wav"
    write_waveform(loop, loop_samples(4, 150.0, 8_000))
    files = {"files": (loop.name, loop.read_bytes())}
    return httpx.post(f"{server.url}/gradio_api/upload", files=files, timeout=30).json()[0]


def ask(server: Server, path: str, n_beats: int, whole: bool = False) -> str:
    """Begin a request and give the address of its events."""
    request: list[Any] = [{"path": path, "meta": {"_type": "gradio.FileData"}}, n_beats, 0, None, 1.0, 0.5]
    request += ["whole", "wav", False] if whole else [False]
    call = f"{server.url}/gradio_api/call/continue{'_whole' if whole else ''}"
    return f"{call}/{httpx.post(call, json={'data': request}, timeout=30).json()['event_id']}"


def hear(address: str, n_events: int) -> None:
    """Listen to some events and hang up."""
    with httpx.stream("GET", address, timeout=30) as answer:
        for line in answer.iter_lines():
            n_events -= line.startswith("data:")
            if n_events <= 0:
                return


def wait_until_free(server: Server, seconds: float = 30.0) -> None:
    scheduler, end = server.sessions.scheduler, time.monotonic() + seconds
    while scheduler.n_playing or scheduler.n_waiting or len(server.sessions):
        assert time.monotonic() < end, (scheduler.n_playing, scheduler.n_waiting, len(server.sessions))
        time.sleep(0.05)


def still_plays(server: Server, path: str) -> None:
    events = httpx.get(ask(server, path, 2, whole=True), timeout=60).text
    assert "event: complete" in events
    wait_until_free(server)


BEGUN = (
    b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nConte"
)


@pytest.mark.parametrize("sent", [b"", BEGUN[:26], BEGUN], ids=["connected", "headers", "body"])
def test_in_the_middle_of_an_upload(server: Server, path: str, sent: bytes) -> None:
    def uploads() -> set[Path]:
        folder = server.sessions.folder
        files = (file for file in folder.parent.rglob("*") if file.is_file())
        return {file for file in files if not file.is_relative_to(folder)}

    before = uploads()
    host, port = server.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sent)
        time.sleep(0.1)
    still_plays(server, path)
    assert uploads() == before


def test_before_the_first_event(server: Server, path: str) -> None:
    ask(server, path, 4)  # nobody ever listens
    still_plays(server, path)


def test_in_the_middle_of_a_stream(server: Server, path: str) -> None:
    hear(ask(server, path, 100), 3)
    still_plays(server, path)
    assert server.model.streams[-2].n_made < 100


def test_by_cancelling(server: Server, path: str) -> None:
    """As a script does that has heard enough: `job.cancel()` of gradio_client."""
    client = Client(server.url, verbose=False)
    loop = handle_file(path)
    for _ in range(2):
        job = client.submit(loop, n_beats=200, api_name="/continue")
        for message in job:
            if message["kind"] == "beat":
                break
        job.cancel()
    still_plays(server, path)


def test_while_waiting(server: Server, path: str) -> None:
    first = ask(server, path, 30)
    hear(first, 2)
    second = ask(server, path, 100)
    hear(second, 1)
    still_plays(server, path)


def test_while_a_file_is_fetched(server: Server, path: str) -> None:
    events = httpx.get(ask(server, path, 8, whole=True), timeout=60).text
    data = json.loads(events.split("event: complete\ndata: ")[1].splitlines()[0])
    host, port = server.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as connection:
        where = data[0]["url"].split(f"{port}", 1)[1]
        connection.sendall(f"GET {where} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        connection.recv(100)
    still_plays(server, path)
    assert Path(data[0]["path"]).exists()  # it may be fetched again
