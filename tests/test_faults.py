"""What commands do when the world around them fails: the rows of docs/explanation/reliability.md."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from faults import (
    full_disk,
    leftovers,
    little_memory,
    note_peak,
    obey_modes,
    one_core,
    start,
    write_loop,
)

from melformer.audio.tiaf import read_tiaf
from melformer.config import PRESETS
from melformer.generate import Melformer
from melformer.hub.bundle import save_bundle
from melformer.train.pretrained import read_codec

LOOP = "loop_120bpm.wav"
TRAIN = ("--preset", "tiny", "--data", "loops", "--batch-size", "1", "--steps", "100000", "--save-every", "2")
COMMANDS = {
    "continue": ("continue", LOOP, "--beats", "4000", "-o", "out.wav"),
    "continue, takes": ("continue", LOOP, "--beats", "2000", "--takes", "3", "-o", "out.flac"),
    "tiaf pack": ("tiaf", "pack", "long_120bpm.wav", "out.tiaf"),
    "tiaf unpack": ("tiaf", "unpack", "long.tiaf", "out.wav"),
    "tokens": ("tokens", LOOP, "-o", "out.npz", "--plot", "out.png"),
    "reconstruct": ("reconstruct", LOOP, "-o", "out.wav"),
    "corpus build": ("corpus", "build", "out", "--hours", "10"),
    "corpus gallery": ("corpus", "gallery", "out"),
    "train codec": ("train", "codec", *TRAIN, "-o", "out"),
    "train tokens": ("train", "tokens", "--codec", "model", "--data", "loops", "-o", "out"),
    "finetune": ("finetune", "many", "-o", "out", "--yes"),
    "evaluate": ("evaluate", "loops"),
    "bench": ("bench", "--beats", "2000"),
    "hub pull": ("hub", "pull", "somebody/something", "out"),
    "hub push": ("hub", "push", "model", "somebody/something"),
}
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny model and some loops, for all tests to read."""
    folder = tmp_path_factory.mktemp("house")
    torch.manual_seed(0)
    save_bundle(folder / "model", PRESETS["tiny"], Melformer(PRESETS["tiny"]).state_dict(), "# Tiny\n")
    (folder / "loops").mkdir()
    for bpm in (100, 110, 120, 130):
        write_loop(folder / "loops" / f"loop_{bpm}bpm.wav", bpm=bpm)
    (folder / "many").mkdir()  # enough to learn from
    for bpm in (100, 110, 120, 130):
        write_loop(folder / "many" / f"loop_{bpm}bpm.wav", 40, bpm=bpm)
    write_loop(folder / LOOP)
    write_loop(folder / "long_120bpm.wav", 200)
    Melformer.from_pretrained(folder / "model")
    from melformer.cli import main

    assert main(["tiaf", "pack", str(folder / "long_120bpm.wav"), str(folder / "long.tiaf")]) == 0
    return folder


@pytest.fixture
def place(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with links to all of it; the tiny model is the model."""
    for path in house.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setenv("MELFORMER_MODEL", str(house / "model"))
    return tmp_path


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def whole(path: Path) -> bool:
    """Whether a file that stands under its final name can be read to its end."""
    if path.suffix in (".wav", ".flac"):
        return len(soundfile.read(path)[0]) == soundfile.info(path).frames > 0
    if path.suffix == ".tiaf":
        return read_tiaf(path).n_beats > 0
    if path.suffix == ".npz":
        return bool(np.load(path)["codes"].size)
    return path.stat().st_size > 0


def check_outputs(place: Path) -> None:
    """What stands under a final name is whole; temporary files have names of their own (`.NAME-…`)."""
    for path in (place / "out").rglob("[!.]*.flac"):
        assert whole(path), path
    for path in place.glob("out*.*"):
        assert path.is_dir() or whole(path), path
    for weights in place.glob("out/checkpoint/*.safetensors"):
        read_codec(weights.parent)  # of a whole checkpoint, or a codec in training


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_leaves_nothing_half_written(place: Path, silent_server: str, name: str, number: int) -> None:
    hub = {"HF_ENDPOINT": silent_server, "HF_HOME": str(place / "cache"), "HF_TOKEN": "hf_x"}
    command = start(place, *COMMANDS[name], **hub)
    command.interrupt(number, after_s=0.6)
    status, words = command.end()
    assert status in (0, SIGNALS[number]), words  # a quick one may have been done
    assert "Traceback" not in words
    if number != signal.SIGKILL:
        assert leftovers(place) == []
        assert status == 0 or words.splitlines()[-1] == "melformer: stopped"
    check_outputs(place)


WRITING = ("continue", "tiaf pack", "tiaf unpack", "tokens", "reconstruct", "corpus build", "corpus gallery",
           "train codec", "train tokens", "finetune")  # fmt: skip


def short(name: str) -> tuple[str, ...]:
    return tuple("4" if word == "4000" else word for word in COMMANDS[name])


@pytest.mark.parametrize("name", [name for name in WRITING if name != "train tokens"])  # its files fit into 1,000 bytes
def test_a_full_disk(place: Path, name: str) -> None:
    status, words = start(place, *short(name), prepare=((full_disk, (1_000,)),)).end()
    assert status == 2, words
    assert "Traceback" not in words and words.splitlines()[-1].startswith("melformer: ")
    assert leftovers(place) == []
    check_outputs(place)


@pytest.mark.parametrize("name", WRITING)
def test_a_read_only_folder(place: Path, name: str) -> None:
    place.chmod(0o555)
    try:
        (place / "stderr.txt").unlink(missing_ok=True)
    finally:
        place.chmod(0o755)
    for file in ("stdout.txt", "stderr.txt"):
        (place / file).touch()
    place.chmod(0o555)
    try:
        status, words = start(place, *short(name), prepare=((obey_modes, ()),)).end()
    finally:
        place.chmod(0o755)
    assert status == 2, words
    assert "Traceback" not in words
    assert "ermission denied" in words
    assert not any(place.glob("out*"))


def test_two_processes_write_one_file(place: Path) -> None:
    for seed in (1, 2):
        start(place, "continue", LOOP, "--beats", "4", "--seed", seed, "-o", f"alone{seed}.wav").end()
    alone = {(place / f"alone{seed}.wav").read_bytes() for seed in (1, 2)}
    both = [start(place, "continue", LOOP, "--beats", "4", "--seed", seed, "-o", "out.wav") for seed in (1, 2)]
    assert [command.end()[0] for command in both] == [0, 0]
    assert (place / "out.wav").read_bytes() in alone
    assert leftovers(place) == []


@pytest.mark.parametrize("name", ["corpus build", "train codec", "train tokens", "finetune"])
def test_a_folder_that_grows_has_one_writer(place: Path, name: str) -> None:
    from melformer.files import only_writer

    with only_writer(place / "out"):
        status, words = start(place, *COMMANDS[name]).end()
    assert status == 2
    assert "Another process is writing to" in words


def test_no_network(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # closed again below: nobody listens there
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(place / "cache"), "HF_TOKEN": "hf_x"}
    for command in (COMMANDS["hub pull"], COMMANDS["hub push"]):
        status, words = start(place, *command, **environment).end()
        assert status == 2
        assert "Traceback" not in words and words.startswith("melformer: ")
    assert not (place / "out").exists()
    status, words = start(place, *short("continue"), **environment).end()
    assert status == 0, words  # what needs no network asks for none


def test_one_core_gives_the_same_bits(place: Path) -> None:
    files = []
    for name, prepare in (("many.wav", ()), ("one.wav", ((one_core, ()),))):
        status, words = start(place, "continue", LOOP, "--beats", "4", "-o", name, prepare=prepare).end()
        assert status == 0, words
        files.append((place / name).read_bytes())
    assert files[0] == files[1]


def test_the_shipped_model_needs_less_than_a_gigabyte(place: Path) -> None:
    peak, model = place / "peak", Path(__file__).resolve().parents[1] / "checkpoints"
    command = ("continue", LOOP, "--beats", "8", "--model", model, "-o", "out.wav")
    status, words = start(place, *command, prepare=((note_peak, (str(peak),)),)).end()
    assert status == 0, words
    assert int(peak.read_text()) < 2**30


def test_too_little_memory_is_told(place: Path) -> None:
    command = start(place, *COMMANDS["tiaf unpack"], prepare=((little_memory, (40 * 2**20,)),))
    status, words = command.end()
    assert status == 2, words
    assert "not enough memory" in words and "Traceback" not in words
    assert not (place / "out.wav").exists()


NAMES = ["my loop 120bpm.wav", "🥁 schön_120bpm.wav", "-o_120bpm.wav", "a;b$(c)'\"_120bpm.wav", "ループ\n120bpm.wav"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_every_kind(place: Path, name: str) -> None:
    folder = place / "two words 🎧"
    folder.mkdir()
    write_loop(folder / name, 4)
    out = folder / f"out of {name}"
    source = folder / name if name.startswith("-") else f"{folder.name}/{name}"
    status, words = start(place, "continue", source, "--beats", "2", "-o", out, "--json").end()
    assert status == 0, words
    assert whole(out)
