"""The command line's manners: exit status, one line for a mistake, stdout for programs, no half files."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from melformer import cli
from melformer.audio.io import exact_encoding
from melformer.cli.output import output_path, plain_stem
from melformer.errors import MelformerError, RequestError

COMMANDS = ("continue", "tiaf", "tokens", "reconstruct", "corpus", "train", "evaluate", "bench", "hub")


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Status, stdout, stderr of one command."""
    try:
        status = cli.main([str(arg) for arg in argv])
    except SystemExit as stop:  # argparse's way out
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    "argv",
    [(), ("nothing",), ("tiaf",), ("tiaf", "pack"), ("tiaf", "pack", "a", "b", "c"), ("hub", "push", "x"),
     ("tiaf", "unpack", "a", "b.wav", "--bpm", "fast"), ("tiaf", "pack", "a", "b", "--double")],
)  # fmt: skip
def test_wrong_arguments_end_in_one_line(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]) -> None:
    status, out, err = run(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith("melformer: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [(MelformerError("a thing\nis 3, at most 2"), 2, "a thing is 3, at most 2"),
     (OSError(errno.ENOSPC, "No space left on device", "out.wav"), 2, "out.wav: No space left on device"),
     (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "/x: Permission denied"),
     (KeyboardInterrupt(), 130, "stopped")],
)  # fmt: skip
def test_errors_become_a_line_and_a_status(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    words: str,
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(cli.hub, "pull", fail)
    assert run(capsys, "hub", "pull", "a/b") == (status, "", f"melformer: {words}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_known_by_whatever_error_it_comes_out_as(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def load(_: object) -> None:  # as numpy does, and Python 3.11 within a class
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except KeyboardInterrupt:
            raise ImportError("numpy.core.multiarray failed to import") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(cli.hub, "pull", load)
        assert run(capsys, "hub", "pull", "a/b") == (128 + number, "", "melformer: stopped\n")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_our_own_faults_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(cli.hub, "pull", fail)
    with pytest.raises(RuntimeError):
        cli.main(["hub", "pull", "a/b"])


def test_a_reader_that_goes_away() -> None:
    program = f"{sys.executable} -m melformer --help | true"
    answer = subprocess.run(program, shell=True, capture_output=True, text=True)
    assert "Traceback" not in answer.stderr


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "melformer", "hub", "pull", "no name"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stderr.startswith("melformer: There is no folder") and answer.stderr.count("\n") == 1


def test_where_results_may_go(tmp_path: Path) -> None:
    loop = tmp_path / "loop.wav"
    loop.write_bytes(b"")
    (tmp_path / "link.wav").symlink_to(loop)
    (tmp_path / "folder.wav").mkdir()
    assert output_path(str(tmp_path / "new.flac"), (".wav", ".flac"), str(loop)) == tmp_path / "new.flac"
    for name in ("loop.wav", "link.wav", "folder.wav", "new.mp3", "new"):
        with pytest.raises(RequestError):
            output_path(str(tmp_path / name), (".wav", ".flac"), str(loop))


def test_names_without_the_tempo() -> None:
    names = {"loop_120bpm": "loop", "loop 92.5 BPM": "loop", "120bpm": "loop", "hats_130": "hats_130"}
    assert {name: plain_stem(name) for name in names} == names


def test_the_encoding_keeps_the_samples() -> None:
    sixteen = np.array([[-32768], [0], [32767]]) / 2.0**15
    assert exact_encoding(sixteen.astype(np.float32), ".wav") == "pcm16"
    assert exact_encoding((sixteen + 2.0**-23).astype(np.float32), ".flac") == "pcm24"
    assert exact_encoding(np.array([[0.1]], np.float32), ".wav") == "float"
    assert exact_encoding(np.array([[0.1]], np.float32), ".flac") == "pcm24"
    assert exact_encoding(np.array([[1.0]], np.float32), ".wav") == "float"  # no 16 bits hold full scale


def test_corpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wish = ("--hours", 0.001, "--seed", 3, "--styles", "house")
    status, out, _ = run(capsys, "corpus", "build", tmp_path, *wish)
    assert (status, out) == (0, f"{tmp_path}: 1 passages\n")
    entry = json.loads((tmp_path / "index.jsonl").read_text())
    assert entry["style"] == "house" and (tmp_path / entry["file"]).exists()


def test_corpus_material(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = json.loads(run(capsys, "corpus", "material", "--json")[1])["material"]
    assert all(kind["source"]["licence"] for kind in kinds)
    assert run(capsys, "corpus", "material")[1].startswith("synthesis: always there")


@pytest.mark.parametrize("wish", ["--hours=0", "--hours=nan", "--hours=inf", "--hours=1 --styles=x"])
def test_corpus_out_of_range(capsys: pytest.CaptureFixture[str], tmp_path: Path, wish: str) -> None:
    status, out, err = run(capsys, "corpus", "build", tmp_path / "c", *wish.split())
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """Two bars at 120 BPM, stereo, 16 bits, with a beat that stands out."""
    from melformer.audio.io import Waveform, write_waveform

    rate, n_beats = 44_100, 8
    time = np.arange(n_beats * rate // 2) / rate
    sound = np.sin(2 * np.pi * 220 * time) * np.exp(-6 * (time % 0.5)) * 0.5
    path = tmp_path / "loop_120bpm.wav"
    write_waveform(path, Waveform(np.stack([sound, sound * 0.5], 1).astype(np.float32), rate))
    return path


def test_tiaf_there_and_back(capsys: pytest.CaptureFixture[str], tmp_path: Path, loop: Path) -> None:
    from melformer.audio.io import read_waveform

    packed, back = tmp_path / "loop.tiaf", tmp_path / "back.wav"
    assert run(capsys, "tiaf", "pack", loop, packed)[0] == 0
    status, out, err = run(capsys, "tiaf", "info", packed, "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert (facts["bpm"], facts["n_beats"], facts["n_channels"], facts["n_samples"]) == (120, 8, 2, 176_400)
    assert "bpm" in run(capsys, "tiaf", "info", packed)[1]
    assert run(capsys, "tiaf", "unpack", packed, back)[0] == 0
    assert np.abs(read_waveform(back).samples - read_waveform(loop).samples).max() < 1e-3
    assert run(capsys, "tiaf", "unpack", packed, tmp_path / "slow.flac", "--bpm", 60)[0] == 0
    assert read_waveform(tmp_path / "slow.flac").n_samples == 2 * 176_400


def test_tiaf_says_what_a_slow_grid_costs(capsys: pytest.CaptureFixture[str], tmp_path: Path, loop: Path) -> None:
    _, _, err = run(capsys, "tiaf", "pack", loop, tmp_path / "a.tiaf", "--bpm", 60)
    assert "is lost" in err
    _, _, err = run(capsys, "tiaf", "pack", loop, tmp_path / "b.tiaf", "--bpm", 60, "--double-time")
    assert "is lost" not in err


@pytest.mark.parametrize("bpm", ["0", "-1", "nan", "inf", "10000", "39.9"])
def test_tiaf_at_an_impossible_tempo(capsys: pytest.CaptureFixture[str], tmp_path: Path, loop: Path, bpm: str) -> None:
    out = tmp_path / "out.tiaf"
    status, _, err = run(capsys, "tiaf", "pack", loop, out, f"--bpm={bpm}")
    assert status == 2
    assert err.count("\n") == 1 and not out.exists()


def test_tiaf_of_what_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("this is no sound")
    for argv in (("pack", text, tmp_path / "o.tiaf"), ("unpack", text, tmp_path / "o.wav"), ("info", text),
                 ("pack", tmp_path / "missing.wav", tmp_path / "o.tiaf"), ("info", tmp_path),
                 ("pack", text, text)):  # fmt: skip
        status, out, err = run(capsys, "tiaf", *argv)
        assert (status, out) == (2, ""), argv
        assert err.startswith("melformer: ") and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text.wav"]
