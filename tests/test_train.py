"""Training: the commands make a checkpoint that continues loops, and a stopped run goes on to the same bits."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import train_worker
from safetensors.torch import load_file

from melformer.audio.grid import loop_beats, model_tempo
from melformer.audio.io import Waveform, read_waveform, write_waveform
from melformer.audio.tiaf import Tiaf, write_tiaf
from melformer.cli.parser import Parser
from melformer.codec.codec import Codec
from melformer.config import PRESETS
from melformer.data.beat_dataset import BeatDataset, cache_beats
from melformer.errors import CheckpointError, RequestError
from melformer.files import only_writer
from melformer.generate import Melformer
from melformer.train import add_arguments, run
from melformer.train.pretrained import where_shapes_agree
from melformer.train.tasks.transformer import repeats


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six loops of eight beats with the tempo in their names."""
    folder = tmp_path_factory.mktemp("loops")
    for i in range(6):
        bpm = 100 + 10 * i
        time = np.arange(round(8 * 60 / bpm * 22_050)) / 22_050
        clicks = 0.5 * np.exp(-((time * bpm / 60) % 1.0) * 30)
        tone = 0.3 * np.sin(2 * np.pi * 110 * 2 ** (np.floor(time * bpm / 60 % 4) / 4) * time)
        write_waveform(folder / f"loop_{bpm}bpm.wav", Waveform((clicks + tone).astype(np.float32), 22_050))
    return folder


@pytest.fixture(scope="module")
def beats(loops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("beats")
    cache_beats([loops], cache, PRESETS["tiny"].codec.samples_per_beat)
    return cache


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    rng = np.random.default_rng(0)
    entries = [{"name": f"{i}.npy", "bpm": 120.0, "beats_per_bar": 4, "n_beats": 16} for i in range(4)]
    for entry in entries:
        np.save(folder / entry["name"], np.tile(rng.integers(64, size=(4, 16, 3)), (4, 1, 1)).astype(np.uint16))
    (folder / "clips.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def arguments(stage: str, *words: str) -> Namespace:
    parser = Parser()
    add_arguments(parser, stage)
    return parser.parse_args(list(words), Namespace(stage=stage))


def test_all_stages_train_and_the_result_continues_a_loop(loops: Path, tmp_path: Path) -> None:
    long = tmp_path / "long"
    for bpm in (110, 120, 130):  # the scorer of sources wants 16 beats
        sound = read_waveform(loops / f"loop_{bpm}bpm.wav").samples
        write_waveform(long / f"loop_{bpm}bpm.wav", Waveform(np.concatenate([sound, sound]), 22_050))
    common = ("--preset", "tiny", "--no-bf16", "--threads=1", "--data")
    run(arguments("codec", *common, str(loops), "-o", str(tmp_path / "codec"), "--steps=25", "--validate-every=25"))
    log = [json.loads(line) for line in (tmp_path / "codec" / "log.jsonl").read_text().splitlines()]
    assert any("validation" in entry for entry in log) and log[0]["total"] > 0
    codec, scored = (str(tmp_path / stage / "checkpoint") for stage in ("codec", "scorer"))
    with pytest.raises(RequestError, match=r"no scorer of sources yet: train it with `melformer train scorer --codec"):
        run(arguments("transformer", *common, str(loops), "--codec", codec, "-o", str(tmp_path / "lm")))
    run(arguments("scorer", *common, str(long), "--codec", codec, "-o", str(tmp_path / "scorer"), "--steps=4"))
    words = ("-o", str(tmp_path / "lm"), "--codec", scored, "--steps", "4", "--validate-every", "4")
    run(arguments("transformer", *common, str(loops), *words))
    model = Melformer.from_pretrained(tmp_path / "lm" / "checkpoint")
    result = model.generate(loops / "loop_120bpm.wav", n_beats=2, seed=1)
    assert result.new.n_samples == 22_050
    card = (tmp_path / "lm" / "checkpoint" / "README.md").read_text()
    assert "Trained on" in card and "| codec, mel on held-out loops |" in card
    assert "| transformer, bits per beat on held-out loops |" in card
    trained = load_file(Path(scored) / "codec.safetensors")
    assert torch.equal(model.codec.scorer.copy_out.weight, trained["scorer.copy_out.weight"].float())
    for stage, folder in (("codec", "codec"), ("scorer", "scorer"), ("transformer", "lm")):  # each plan is read again
        state = (tmp_path / folder / "state.pt").read_bytes()
        run(arguments(stage, "--resume", str(tmp_path / folder)))
        assert (tmp_path / folder / "state.pt").read_bytes() == state


def test_the_codec_learns(beats: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from melformer.train.tasks.codec import CodecTask
    from melformer.train.trainer import Trainer

    options = replace(train_worker.OPTIONS, steps=20, accumulate=1, lr=5e-3, warmup_steps=5, validate_every=100)
    task = CodecTask(PRESETS["tiny"], beats, options, crop_beats=2)

    def loss() -> float:
        return task.loss(task.module, np.random.default_rng(0), 0)["total"].item()

    before = loss()
    Trainer(task, options, tmp_path).fit()
    assert loss() < 0.8 * before


def test_a_codec_starts_from_another(loops: Path, tmp_path: Path) -> None:
    common = ("--data", str(loops), "--preset", "tiny", "--cache", str(tmp_path / "beats"), "--no-bf16", "--threads=1")
    short = ("--steps", "2", "--warmup-steps", "0")
    run(arguments("codec", *common, *short, "-o", str(tmp_path / "first")))
    run(arguments("codec", *common, *short, "-o", str(tmp_path / "second"), "--lr", "1e-9", "--init",
                  str(tmp_path / "first" / "checkpoint")))  # fmt: skip
    first, second = (load_file(tmp_path / name / "checkpoint" / "codec.safetensors") for name in ("first", "second"))
    assert (first["encoder.pool.weight"] - second["encoder.pool.weight"]).abs().max() < 1e-4


def test_of_another_design_a_codec_takes_the_weights_whose_shapes_agree(tmp_path: Path) -> None:
    tiny = PRESETS["tiny"]
    apart = replace(tiny, codec=replace(tiny.codec, n_fft=2_100))
    given = {name: t + 1.0 for name, t in Codec(apart.codec).state_dict().items()}
    own = Codec(tiny.codec).state_dict()
    mixed = where_shapes_agree(given, own)
    assert mixed.keys() == own.keys()
    assert torch.equal(mixed["encoder.pool.weight"], given["encoder.pool.weight"])
    assert torch.equal(mixed["encoder.project_in.weight"], own["encoder.project_in.weight"])
    with pytest.raises(CheckpointError, match="shares no weight"):
        where_shapes_agree({"other": torch.zeros(1)}, own)


def test_what_is_nearly_the_same_is_within_half_a_decibel(beats: Path) -> None:
    from melformer.train.tasks.codec import nearly_the_same

    tone = np.sin(np.linspace(0.0, 200.0 * np.pi, 24_000, endpoint=False, dtype=np.float32)).reshape(1, 1, -1)
    changed = nearly_the_same(np.repeat(tone, 20, axis=0), np.random.default_rng(0))
    levels = 20.0 * np.log10(np.sqrt(2.0 * np.square(changed).mean(axis=-1)))
    assert np.abs(levels).max() <= 0.51 and np.abs(levels).max() > 0.3
    assert 0.0 < np.abs(changed - tone).max() < 0.1


@pytest.mark.parametrize("stage", ["codec", "transformer"])
def test_stopped_and_resumed_equals_straight(stage: str, beats: Path, tokens: Path, tmp_path: Path) -> None:
    data = beats if stage == "codec" else tokens
    train_worker.main(stage, data, tmp_path / "straight", 8)
    train_worker.main(stage, data, tmp_path / "stopped", 4)
    train_worker.main(stage, data, tmp_path / "stopped", 8)
    assert_same(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.slow
def test_two_processes_agree_and_resume_to_the_same_bits(beats: Path, tmp_path: Path) -> None:
    for folder, until in (("straight", 8), ("stopped", 4), ("stopped", 8)):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                   train_worker.__file__, "codec", str(beats), str(tmp_path / folder), str(until)]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-2_000:]
        assert done.stdout.count(f'"processes": 2, "step": {until}') == 2
    assert_same(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.slow
def test_the_loss_falls_in_two_processes(loops: Path, tmp_path: Path) -> None:
    options = {"--steps": 24, "--batch-size": 1, "--accumulate": 2, "--lr": 5e-3, "--warmup-steps": 4,
               "--validate-every": 8, "--save-every": 24, "--threads": 1}  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "melformer", "train", "codec", "--preset", "tiny", "--data", str(loops), "-o", str(tmp_path),
               *(str(word) for pair in options.items() for word in pair)]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2_000:]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    first, *_, last = [entry["validation"]["total"] for entry in log if "validation" in entry]
    assert last < 0.9 * first
    assert json.loads((tmp_path / "checkpoint" / "record.json").read_text())["codec"]["processes"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
@pytest.mark.slow
def test_processes_end_with_the_torchrun_that_started_them(loops: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "melformer", "train", "codec", "--preset", "tiny", "--data", str(loops), "-o", str(run),
               "--steps=100000", "--save-every=1", "--batch-size=1", "--threads=1"]  # fmt: skip
    launcher = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        _wait_until((run / "state.pt").exists)
        launcher.kill()
        launcher.wait()
        _wait_until(lambda: _is_free(run), 10.0)
    finally:
        launcher.kill()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended meanwhile
                if str(run).encode() in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)


def _wait_until(is_so: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_free(folder: Path) -> bool:
    try:
        with only_writer(folder):
            return True
    except RequestError:
        return False


def assert_same(straight: Path, stopped: Path) -> None:
    a, b = (torch.load(folder / "state.pt", weights_only=True) for folder in (straight, stopped))
    assert a["step"] == b["step"] == 8
    for part in ("model", "ema"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])
    for i, state in a["optimizer"]["state"].items():
        assert all(torch.equal(value, b["optimizer"]["state"][i][name]) for name, value in state.items())


def test_a_full_disk_leaves_the_last_good_state(beats: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing fails halfway in the same way."""
    train_worker.main("codec", beats, tmp_path, 4)
    before, limits = (tmp_path / "state.pt").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written .* The state of step 4 is safe: make room"):
            train_worker.main("codec", beats, tmp_path, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "state.pt").read_bytes() == before and (tmp_path / "checkpoint" / "codec.safetensors").exists()
    train_worker.main("codec", beats, tmp_path, 8)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_damaged_state_is_named(beats: Path, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        train_worker.main("codec", beats, tmp_path, 1)


def test_beats_are_made_once_and_split_by_loop(loops: Path, beats: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in beats.glob("*.npy")}
    cache_beats([loops], beats, PRESETS["tiny"].codec.samples_per_beat)
    assert before == {path: path.stat().st_mtime_ns for path in beats.glob("*.npy")} and len(before) == 6
    train, held_out = (BeatDataset(beats, held_out=flag, minimum_beats=2) for flag in (False, True))
    names = [{entry["name"] for entry in part.entries} for part in (train, held_out)]
    assert len(names[0]) + len(names[1]) == 6 and names[1] and not names[0] & names[1]
    with pytest.raises(RequestError, match="no held-out loop of 999"):
        BeatDataset(beats, held_out=True, minimum_beats=999)


def test_tiaf_files_are_loops_too(loops: Path, tmp_path: Path) -> None:
    waveform = read_waveform(loops / "loop_110bpm.wav")
    (tmp_path / "in").mkdir()
    write_tiaf(tmp_path / "in" / "a.tiaf", Tiaf.from_waveform(waveform, 110.0))
    cache_beats([tmp_path / "in"], tmp_path / "out", 24_000)
    entry = json.loads((tmp_path / "out" / "clips.jsonl").read_text())
    rows = np.load(tmp_path / "out" / entry["name"]) / 32_767.0
    assert entry["bpm"] == 110.0 and np.abs(rows - loop_beats(waveform, 110.0, 24_000)).max() < 1e-3


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no loops"):
        cache_beats([tmp_path], tmp_path / "beats", 24_000)


@pytest.mark.parametrize(
    ("bpm", "folded"), [(40, (160, 4)), (75, (150, 2)), (90, (90, 1)), (179.9, (179.9, 1)), (240, (120, 0.5))]
)
def test_tempo_is_folded_to_one_octave(bpm: float, folded: tuple[float, float]) -> None:
    assert model_tempo(bpm) == folded


def test_model_beats_keep_the_beat_where_it_is() -> None:
    samples = np.zeros(4 * 22_050, np.float32)
    samples[::22_050] = 1.0
    rows = loop_beats(Waveform(samples, 44_100), 120.0, 24_000)
    assert rows.shape == (4, 24_000)
    assert (np.abs(rows).argmax(axis=1) == 0).all()
    assert np.abs(rows[:, 100:-100]).max() < 0.05


def test_repeats_are_exact_and_look_back_only() -> None:
    codes = torch.tensor([[1, 2, 1, 3, 3]]).reshape(1, 5, 1, 1).expand(1, 5, 4, 2)
    assert repeats(codes).tolist() == [[0, 0, 1, 0, 1]]
