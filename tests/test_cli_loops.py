"""The commands that take a loop, with an untrained tiny model: files, lengths, JSON, and every wrong wish."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_cli import run

from melformer.audio.io import Waveform, read_bpm_tag, read_waveform, write_waveform
from melformer.cli import continue_
from melformer.config import PRESETS
from melformer.generate import Melformer
from melformer.hub import save_bundle

RATE, BPM, N_BEATS = 44_100, 120, 8
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tensors = Melformer(PRESETS["tiny"]).state_dict()
    return save_bundle(tmp_path_factory.mktemp("model"), PRESETS["tiny"], tensors, "# Tiny\n")


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> Path:
    """Two bars at 120 BPM, stereo, 16 bits; the working folder is empty but for it, and the model is the tiny one."""
    time = np.arange(N_BEATS * RATE // 2) / RATE
    sound = np.sin(2 * np.pi * 220 * time) * np.exp(-6 * (time % 0.5)) * 0.5
    write_waveform(tmp_path / "loop_120bpm.wav", Waveform(np.stack([sound, sound / 2], 1).astype(np.float32), RATE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MELFORMER_MODEL", str(model))
    return Path("loop_120bpm.wav")


def test_continue_keeps_the_loop_and_adds_whole_beats(capsys: Capture, loop: Path) -> None:
    status, out, err = run(capsys, "continue", loop, "--beats", 5, "--seed", 7, "-o", "out.wav", "--json")
    assert status == 0, err
    report = json.loads(out)
    whole, original = read_waveform("out.wav"), read_waveform(loop)
    n_prompt, join = original.n_samples, round(0.03 * RATE)
    assert whole.n_samples == n_prompt + 5 * RATE // 2
    assert np.array_equal(whole.samples[: n_prompt - join], original.samples[: n_prompt - join])
    assert read_bpm_tag("out.wav") == BPM
    (take,) = report["takes"]
    assert (take["file"], take["seed"], len(take["sources"])) == ("out.wav", 7, 10)
    expected = {"bpm": 120, "bpm_source": "file name", "prompt_beats": 8, "new_beats": 5, "sample_rate": RATE,
                "prompt_samples": n_prompt, "new_samples": 5 * RATE // 2, "n_channels": 2}  # fmt: skip
    assert expected.items() <= report.items()
    assert "120 BPM (file name), 8 beats" in err


def test_beats_are_composed_anew_and_own_stems_are_read(capsys: Capture, loop: Path) -> None:
    wish = ("--beats", 4, "--seed", 3, "--json")
    first = json.loads(run(capsys, "continue", loop, *wish, "-o", "a.wav")[1])["takes"][0]["sources"]
    words = ("--redo", "1:3", "--redo-stem", "bass")
    again = json.loads(run(capsys, "continue", loop, *wish, *words, "-o", "b.wav")[1])["takes"][0]["sources"]
    drop = lambda units: [{k: v for k, v in unit.items() if k != "bass"} for unit in units]  # noqa: E731
    assert drop(first) == drop(again) and first[:2] == again[:2] and first[6:] == again[6:]
    loop.rename("mine_120bpm.wav")
    before = Path("mine_120bpm.wav").read_bytes()
    status, out, err = run(capsys, "continue", "--stem", "bass=mine_120bpm.wav", "--beats", 2, "-o", "c.wav")
    assert (status, out) == (0, "c.wav\n"), err
    assert run(capsys, "continue", "--stem", "bass=mine_120bpm.wav", "-o", "mine_120bpm.wav")[0] == 2
    assert Path("mine_120bpm.wav").read_bytes() == before


def test_continue_names_its_files(capsys: Capture, loop: Path) -> None:
    assert run(capsys, "continue", loop, "--beats", 2)[1] == "loop_120bpm_10beats_seed0.wav\n"
    assert run(capsys, "continue", loop, "--beats", 2, "--only-new")[1] == "loop_120bpm_2beats_seed0.wav\n"
    assert read_waveform("loop_120bpm_2beats_seed0.wav").n_samples == RATE
    assert run(capsys, "continue", loop, "--beats", 2, "-o", "sub/new.flac")[1] == "sub/new.flac\n"
    assert read_waveform("sub/new.flac").n_samples == 5 * RATE


def test_no_file_is_replaced_that_was_not_named(capsys: Capture, loop: Path) -> None:
    """Loops of one name from two folders, one seed twice, and takes whose name is that of their source."""
    for folder in ("kick", "snare"):
        Path(folder).mkdir()
        Path(folder, loop.name).write_bytes(loop.read_bytes())
    wish = ("--beats", 1, "--seed", 3)
    loops = [Path(folder, loop.name) for folder in ("kick", "snare", "snare")]
    names = [run(capsys, "continue", path, *wish)[1].strip() for path in loops]
    assert names == [f"loop_120bpm_9beats_seed3{mark}.wav" for mark in ("", "_2", "_3")]
    source = Path("out_seed0.wav")
    source.write_bytes(loop.read_bytes())
    options = ("--bpm", BPM, "--beats", 1, "--takes", 2, "-o", "out.wav")
    assert run(capsys, "continue", source, *options)[1].split() == ["out_seed0_2.wav", "out_seed1.wav"]
    assert source.read_bytes() == loop.read_bytes()


def test_a_pipe_is_not_replaced(capsys: Capture, loop: Path) -> None:
    os.mkfifo("out.wav")
    for command in ("continue", "reconstruct"):
        status, _, err = run(capsys, command, loop, "-o", "out.wav")
        assert (status, err.count("\n")) == (2, 1) and "device or a pipe" in err
    assert Path("out.wav").is_fifo()


@pytest.fixture
def folder(loop: Path) -> Path:
    """Three loops, two of one name, and a file that is none."""
    for name in ("loops/a.wav", "loops/b/a.wav", "loops/c_120bpm.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(loop.read_bytes())
    Path("loops/bad.wav").write_text("this is no sound")
    return Path("loops")


def test_a_folder_is_continued_past_what_is_no_loop(capsys: Capture, folder: Path) -> None:
    wish = ("continue", folder, "-o", "out", "--bpm", BPM, "--beats", 1, "--seed", 5)
    status, out, err = run(capsys, *wish)
    made = ["out/a_seed5.wav", "out/b/a_seed5.wav", "out/c_120bpm_seed5.wav"]
    assert status == 2 and out.split() == made
    assert all(read_waveform(name).n_samples == 9 * RATE // 2 for name in made)
    lines = err.splitlines()
    assert [line.split("] ")[0] for line in lines[:4]] == [f"melformer: [{n}/4" for n in range(1, 5)]
    assert (
        lines[-2].startswith("melformer: failed: bad.wav: bad.wav isn't a supported audio file")
        and "1 of 4 loops" in lines[-1]
    )


def test_a_folder_goes_on_where_it_stopped(capsys: Capture, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = ["continue", folder, "-o", folder / "out", "--bpm", BPM, "--beats", 1]  # results are no loops
    (folder / "bad.wav").unlink()
    write = continue_.write_take

    def stop(take: Any, path: Path, args: Any) -> Path:
        if path.parent.name == "b":
            raise KeyboardInterrupt
        return write(take, path, args)

    with monkeypatch.context() as patched:
        patched.setattr(continue_, "write_take", stop)
        assert run(capsys, *wish)[0] == 130
    before = (folder / "out/a_seed0.wav").stat().st_mtime_ns
    status, out, err = run(capsys, *wish, "--json")
    assert status == 0 and "1 of 3 loops are done already" in err
    assert (folder / "out/a_seed0.wav").stat().st_mtime_ns == before
    report = json.loads(out)
    assert [entry["loop"] for entry in report["done"]] == ["a.wav", "b/a.wav", "c_120bpm.wav"] and not report["failed"]
    assert json.loads(run(capsys, *wish, "--json")[1]) == report  # nothing is left to do
    status, _, err = run(capsys, *wish, "--seed", 1)
    assert status == 2 and "other options (seed was 0, now 1)" in err


def test_where_the_results_of_a_folder_may_not_go(capsys: Capture, folder: Path) -> None:
    Path("file").write_text("")
    Path("empty").mkdir()
    for argv in (
        (folder,),
        (folder, "-o", folder),
        (folder, "-o", "out", "--stems", "stems"),
        (folder, "-o", "file"),
        (folder, "-o", "o.wav"),
        ("empty", "-o", "out"),
    ):
        status, out, err = run(capsys, "continue", *argv)
        assert (status, out) == (2, "") and err.count("\n") == 1
    assert not Path("out").exists()


def test_takes_are_what_their_seeds_give_alone(capsys: Capture, loop: Path) -> None:
    wish = ("continue", loop, "--beats", 2, "--only-new", "-o", "out.wav")
    _, out, _ = run(capsys, *wish, "--takes", 3, "--seed", 5)
    files = out.split()
    assert files == ["out_seed5.wav", "out_seed6.wav", "out_seed7.wav"]
    run(capsys, *wish, "--seed", 6)
    assert Path("out.wav").read_bytes() == Path("out_seed6.wav").read_bytes()


def test_every_dial_reaches_the_model(capsys: Capture, loop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def record(self: Melformer, prompt: object, n_beats: int, **options: object) -> None:
        seen.update(options, n_beats=n_beats, prompt=prompt)
        raise KeyboardInterrupt

    monkeypatch.setattr(Melformer, "generate", record)
    status, _, _ = run(
        capsys, "continue", loop, "--bpm", 60, "--beats", 9, "--seed", 3, "--temperature", 0.7, "--top-k", 5,
        "--top-p", 0.5, "--variation", 0.25, "--density", 0.75, "--keep", "bass", "--beats-per-bar", 3, "--start", 0.5,
    )  # fmt: skip
    assert status == 130
    settings, prompt = seen["config"], seen["prompt"]
    assert (settings.temperature, settings.top_k, settings.top_p) == (0.7, 5, 0.5)
    assert (settings.variation, settings.density, settings.keep) == (0.25, 0.75, ("bass",))
    assert (seen["n_beats"], seen["seeds"]) == (9, [3])
    assert (prompt.bpm, prompt.beats_per_bar, prompt.tempo.start_s) == (60, 3, 0.5)


WRONG = [
    *(f"--bpm={bpm}" for bpm in ("0", "-1", "nan", "inf", "10000")),
    *(f"--beats={n}" for n in ("0", "-1", "1000000000")),
    *(f"--temperature={t}" for t in ("-1", "nan", "inf", "1e9")),
    *(f"--start={s}" for s in ("-1", "nan", "1000")),
    *(f"--takes={n}" for n in ("0", "-1", "1000")),
    "--beats-per-bar=0", "--beats-per-bar=1000", "--seed=-1", f"--seed={2**70}", "--top-k=-1", "--top-p=0",
    "--top-p=2", "--variation=-0.1", "--variation=nan", "--density=2", "--keep=vocals", "--redo=4:2",
   "--redo-stem=bass", "--stem=drums=x.wav", "--model=nowhere", "--model=/",
    "-o=out.mp3", "-o=loop_120bpm.wav", "-o=.",
]  # fmt: skip


@pytest.mark.parametrize("wish", WRONG)
def test_wrong_wishes(capsys: Capture, loop: Path, wish: str) -> None:
    before = loop.read_bytes()
    status, out, err = run(capsys, "continue", loop, *wish.split("=", 1) if wish.startswith("-o") else [wish])
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("melformer: ")
    assert "Traceback" not in err
    assert [path.name for path in Path().iterdir()] == [loop.name]
    assert loop.read_bytes() == before


@pytest.mark.parametrize("name", ["missing.wav", "empty.wav", "text.wav", "short_120bpm.wav", "."])
@pytest.mark.parametrize("command", [("continue",), ("tokens",), ("reconstruct", "-o", "out.wav")])
def test_what_is_no_loop(capsys: Capture, loop: Path, command: tuple[str, ...], name: str) -> None:
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("this is no sound")
    write_waveform("short_120bpm.wav", Waveform(np.full((4_410, 1), 0.1, np.float32), RATE))
    before = sorted(Path().iterdir())
    status, out, err = run(capsys, command[0], name, *command[1:])
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("melformer: ")
    assert sorted(Path().iterdir()) == before


def test_a_stop_leaves_nothing_behind(capsys: Capture, loop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: object, beat: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(continue_.Progress, "show", stop)
    assert run(capsys, "continue", loop, "-o", "out.wav")[0] == 130
    assert [path.name for path in Path().iterdir()] == [loop.name]


def test_progress_is_for_people(capsys: Capture, loop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\r" not in run(capsys, "continue", loop, "--beats", 2)[2]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    _, out, err = run(capsys, "continue", loop, "--beats", 2)
    assert "\rmelformer: 2/2 beats, " in err and "× real time" in err
    assert "\r" not in out


def test_tokens(capsys: Capture, loop: Path) -> None:
    status, out, _ = run(capsys, "tokens", loop, "-o", "codes.npz", "--plot", "codes.png", "--json")
    assert status == 0
    report = json.loads(out)
    with np.load("codes.npz", allow_pickle=False) as saved:
        assert saved["codes"].shape == (8, 16, PRESETS["tiny"].codec.n_codebooks)
        assert saved["bpm"] == BPM
        assert report["codes"] == saved["codes"].tolist()
        assert np.array_equal(saved["codes"][0], saved["codes"][1])  # the loop repeats its beat
    assert Path("codes.png").read_bytes().startswith(b"\x89PNG")
    assert "n_codebooks" in run(capsys, "tokens", loop)[1]


def test_reconstruct(capsys: Capture, loop: Path) -> None:
    status, out, _ = run(capsys, "reconstruct", loop, "-o", "decoded.wav", "--json")
    assert status == 0
    assert read_waveform("decoded.wav").n_samples == read_waveform(loop).n_samples
    assert json.loads(out)["mel_distance"] > 0
    assert "mel_distance" in run(capsys, "reconstruct", loop, "-o", "decoded.wav")[1]


def test_bench(capsys: Capture, loop: Path) -> None:
    """That it measures; never what, since a test may run on any machine beside anything."""
    status, out, _ = run(capsys, "bench", "--beats", 8, "--json")
    assert status == 0
    report = json.loads(out)
    assert [speed["bpm"] for speed in report["speeds"]] == [120, 174]
    assert all(speed["x_real_time_median"] >= speed["x_real_time_p95"] > 0 for speed in report["speeds"])
    assert report["cold_start_s"] > 0 and report["peak_memory_mb"] > 10
    assert "real time" in run(capsys, "bench", "--beats", 8)[1]
    assert run(capsys, "bench", "--beats", 7)[0] == 2
