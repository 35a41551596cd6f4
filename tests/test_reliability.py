"""Rows of docs/explanation/reliability.md that need no process of their own, or the page's."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from faults import write_loop
from page_double import Model

from melformer.audio.io import audio_files, read_waveform
from melformer.cli import main
from melformer.config import PRESETS
from melformer.data.beat_dataset import cache_beats, find_clips
from melformer.data.own_loops import survey
from melformer.errors import AudioError, RequestError
from melformer.evaluate.sets import folder_clips
from melformer.generate import Melformer
from melformer.hub.bundle import save_bundle
from melformer.ui.host.limits import Limits
from melformer.ui.session.sessions import Sessions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tensors = Melformer(PRESETS["tiny"]).state_dict()
    return save_bundle(tmp_path_factory.mktemp("model"), PRESETS["tiny"], tensors, "# Tiny\n")


def test_hidden_files_are_no_loops(tmp_path: Path) -> None:
    """A killed writer leaves `.NAME-…`, and macOS writes `._NAME` beside every file on foreign disks."""
    for name in ("a_120bpm.wav", ".a_120bpm-x1y2.wav", "._a_120bpm.wav"):
        write_loop(tmp_path / name)
    assert [path.name for path in audio_files(tmp_path)] == ["a_120bpm.wav"]
    assert [clip.path.name for clip in find_clips(tmp_path)] == ["a_120bpm.wav"]
    clips, left_out = folder_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a_120bpm"] and left_out == []
    assert len(survey(tmp_path)[0]) == 1


def test_a_file_removed_while_it_is_read_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = write_loop(tmp_path / "a_120bpm.wav"), write_loop(tmp_path / "b_120bpm.wav")
    check = read_waveform.__globals__["check_kind"]

    def remove_then_check(*args: object) -> None:
        path.unlink()
        check(*args)

    monkeypatch.setitem(read_waveform.__globals__, "check_kind", remove_then_check)
    read = read_waveform(path)
    monkeypatch.undo()
    assert np.array_equal(read.samples, read_waveform(other).samples)
    with pytest.raises(AudioError, match=r"a_120bpm\.wav"):
        read_waveform(path)


def test_loops_that_go_away_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loops = tmp_path / "loops"
    loops.mkdir()
    for bpm in (100, 120):
        write_loop(loops / f"loop_{bpm}bpm.wav", bpm=bpm)
    (loops / "gone_110bpm.wav").symlink_to(tmp_path / "nowhere.wav")
    cache_beats([loops], tmp_path / "cache", PRESETS["tiny"].codec.samples_per_beat)
    assert "gone_110bpm.wav" in "".join(capsys.readouterr())
    assert len((tmp_path / "cache" / "clips.jsonl").read_text().splitlines()) == 2
    clips, notes = folder_clips(loops)
    assert len(clips) == 2
    assert "gone_110bpm.wav" in str(notes)


def test_a_cached_loop_that_goes_away_is_named(tmp_path: Path) -> None:
    from melformer.data.beat_dataset import BeatDataset

    (tmp_path / "loops").mkdir()
    for bpm in (100, 120):
        write_loop(tmp_path / "loops" / f"loop_{bpm}bpm.wav", bpm=bpm)
    cache_beats([tmp_path / "loops"], tmp_path / "cache", PRESETS["tiny"].codec.samples_per_beat)
    beats = BeatDataset(tmp_path / "cache", held_out=False, minimum_beats=2)
    for path in (tmp_path / "cache").glob("*.npy"):
        path.unlink()
    with pytest.raises(RequestError, match="make it again"):
        beats.crop(np.random.default_rng(0), 2)


@pytest.mark.parametrize("now", [0.0, 4.1e9])
def test_a_wrong_clock_changes_nothing(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, now: float
) -> None:
    loop = write_loop(tmp_path / "loop_120bpm.wav", 4)
    command = ["continue", str(loop), "--beats", "2", "--model", str(model), "-o"]
    assert main([*command, str(tmp_path / "right.wav")]) == 0
    clock = [100.0]
    sessions = Sessions(Model(), Limits(session_minutes=1), tmp_path / "sessions", clock=lambda: clock[0])
    token = sessions.create()
    monkeypatch.setattr(time, "time", lambda: now)
    assert main([*command, str(tmp_path / "wrong.wav")]) == 0
    assert (tmp_path / "right.wav").read_bytes() == (tmp_path / "wrong.wav").read_bytes()
    clock[0] += 59.0
    assert sessions.find(token).takes == {}
    clock[0] += 61.0
    with pytest.raises(RequestError, match="Session expired"):
        sessions.find(token)


@pytest.mark.parametrize("environment", [
    {"LC_ALL": "C", "LANG": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
], ids=["C", "C without UTF-8", "ASCII"])  # fmt: skip
def test_plain_terminals(tmp_path: Path, model: Path, environment: dict[str, str]) -> None:
    loop = write_loop(tmp_path / "schön 🥁_120bpm.wav", 4)
    out = tmp_path / "ö.wav"
    words = ["continue", str(loop), "--beats", "2", "--model", str(model), "-o", str(out)]
    for command in (words, ["continue", "--help"]):
        result = subprocess.run(
            [sys.executable, "-m", "melformer", *map(os.fsencode, command)], capture_output=True, cwd=ROOT,
            env={**os.environ, **environment},
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert b"Traceback" not in result.stderr
    assert read_waveform(out).n_samples > 0


FILE = {"_type": "gradio.FileData"}


@contextmanager
def page_of(folder: Path, model: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`app.py` with its files in `folder`, and the address of its API."""
    environment = {
        **os.environ, "MELFORMER_MODEL": str(model), "GRADIO_TEMP_DIR": str(folder / "files"),
        "GRADIO_SERVER_PORT": "0",  # any free one
    }  # fmt: skip
    page = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert page.stdout is not None
    try:
        while (line := page.stdout.readline()) and b"http://" not in line:
            pass
        address = re.search(rb"http://[\w.:]+", line)
        assert address is not None, line
        yield page, f"{address[0].decode()}/gradio_api"
    finally:
        page.kill()
        page.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_page_that_is_stopped_leaves_nothing(tmp_path: Path, model: Path, number: int) -> None:
    with page_of(tmp_path, model) as (page, _):
        assert any((tmp_path / "files").glob("melformer-*"))
        page.send_signal(number)
        words = page.communicate(timeout=60)[0]
    assert page.returncode in (0, 130, 143), words
    assert b"Traceback" not in words
    assert not any((tmp_path / "files").glob("melformer-*"))


def listen(url: str, path: str, seed: int) -> None:
    """A script that takes 256 beats as they come, for as long as there is a page."""
    with suppress(httpx.HTTPError):
        asked = httpx.post(f"{url}/call/continue", json={"data": [{"path": path, "meta": FILE}, 256, seed]}, timeout=60)
        with httpx.stream("GET", f"{url}/call/continue/{asked.json()['event_id']}", timeout=60) as events:
            for _ in events.iter_lines():
                pass


def load_again_and_again(url: str, path: str) -> None:
    """A visitor who cannot decide."""
    config = httpx.get(f"{url.removesuffix('/gradio_api')}/config", timeout=60).json()
    component = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "melformer")

    def call(**data: Any) -> Any:
        body = {"component_id": component, "session_hash": "a", "fn_name": "call", "data": data}
        return httpx.post(f"{url}/component_server", json=body, timeout=60).json()

    with suppress(httpx.HTTPError, ValueError):
        token = call(do="hello")["ok"]["token"]
        while True:
            call(do="load", path=path, token=token)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_page_that_is_stopped_while_it_works_ends_in_order(tmp_path: Path, model: Path, number: int) -> None:
    """Streams that play and that nobody fetches, loops that are loaded, a request half sent: no traceback, no file."""
    with page_of(tmp_path, model) as (page, url):
        loop = write_loop(tmp_path / "click_120bpm.wav", 16)
        path = httpx.post(f"{url}/upload", files={"files": (loop.name, loop.read_bytes())}, timeout=60).json()[0]
        heard = [threading.Thread(target=listen, args=(url, path, seed), daemon=True) for seed in range(3)]
        loading = [threading.Thread(target=load_again_and_again, args=(url, path), daemon=True) for _ in range(6)]
        for thread in (*heard, *loading):
            thread.start()
        httpx.post(f"{url}/call/continue", json={"data": [{"path": path, "meta": FILE}, 256, 7]}, timeout=60)
        half = socket.create_connection(("127.0.0.1", httpx.URL(url).port))
        half.sendall(b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(5.0)
        page.send_signal(number)
        words = page.communicate(timeout=60)[0]
        half.close()
    assert page.returncode in (0, 130, 143), words
    assert words.strip() == b"", words
    assert not any((tmp_path / "files").glob("melformer-*"))
