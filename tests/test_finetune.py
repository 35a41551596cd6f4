"""Fine-tuning: the table of tempi, what is held out, labels by sound, and a checkpoint that loads everywhere."""

import json
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from melformer.audio.io import Waveform, read_waveform, write_waveform
from melformer.cli import main
from melformer.config import PRESETS
from melformer.data.own_loops import OwnLoop, read_table, survey, write_table
from melformer.data.sound_units import alikeness_of_sound
from melformer.data.unit_dataset import UnitClip
from melformer.errors import RequestError
from melformer.generate import Melformer
from melformer.hub import load_bundle, save_bundle
from melformer.hub.parts import POINTER_FILE, SEPARATOR_FILE, load_pointer, load_separator, save_part
from melformer.stems.units import UnitPictures
from melformer.train.finetune import finetune as command
from melformer.train.finetune import material as finetune_material
from melformer.train.finetune import result as result
from melformer.train.finetune import task as finetune_task
from melformer.train.finetune.finetune import FinetuneOptions, choose_loops, finetune
from melformer.train.finetune.material import Piece, own_pieces, split
from melformer.train.finetune.task import FinetuneTask, best_index, mean_nats
from melformer.train.trainer import Trainer
from melformer.transformer.pointer import POINTERS, Pointer

TINY = PRESETS["tiny"]
OPTIONS = FinetuneOptions(steps=12, validate_every=4, lr=1e-2, engine_share=0.0, batch_size=4)
RATE = 16_000


def write_loops(folder: Path, n_loops: int, n_beats: int, named: bool = True) -> Path:
    """Loops of clicks and tones at 120 BPM."""
    folder.mkdir()
    time = np.arange(round(n_beats * 0.5 * RATE)) / RATE
    for i in range(n_loops):
        clicks = 0.5 * np.exp(-((time * 2) % 1.0) * 30) * np.sin(2 * np.pi * 900 * time)
        tone = 0.2 * np.sin(2 * np.pi * (110 + 20 * i) * 2 ** (np.floor(time * 2 % 4) / 4) * time)
        name = f"loop{i}_120bpm.wav" if named else f"{'abcdefghijkl'[i]}.wav"
        write_waveform(folder / name, Waveform((clicks + tone).astype(np.float32)[:, None], RATE))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with random weights."""
    torch.manual_seed(1)
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in Melformer(TINY).state_dict().items()}
    folder = save_bundle(tmp_path_factory.mktemp("base"), TINY, tensors, "# tiny\n")
    save_part(folder / POINTER_FILE, Pointer(POINTERS["tiny"]))
    return folder


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_loops(tmp_path_factory.mktemp("own") / "loops", 8, 8)


@pytest.fixture(autouse=True)
def small_material(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composing takes seconds a passage, so what is forgotten is measured on two; and little is enough."""
    monkeypatch.setattr(finetune_material, "MIN_BEATS", 30)
    monkeypatch.setattr(finetune_material, "VERSIONS_OF_MIDI", 1)
    monkeypatch.setattr(finetune_task, "N_VALIDATION_BATCHES", 2)
    monkeypatch.setattr(finetune_task, "MAX_LOST", 9.0)  # a tiny network forgets noise at once
    monkeypatch.setattr(result, "CLIP_BEATS", 4)
    monkeypatch.setattr(command, "engine_clips", lambda separator, seed, n, cache: [random_clip(9)] if n else [])


def random_clip(seed: int, n_units: int = 48) -> UnitClip:
    """Four bars of noise, twice and a half: what comes a phrase later is the same."""
    rng = np.random.default_rng(seed)
    mel = np.tile(rng.random((1, 32, 3, 24, 6)), (1, 2, 1, 1, 1))[:, :n_units].astype(np.float16)
    chroma = np.tile(rng.random((1, 32, 2, 12, 2)), (1, 2, 1, 1, 1))[:, :n_units].astype(np.float32)
    alike, silent = alikeness_of_sound(UnitPictures(mel[0].astype(np.float32), chroma[0]))
    return UnitClip(mel, chroma, alike, silent, np.zeros((2 * n_units, 2 * n_units), np.int8), 120.0, 8)


def piece(name: str, seed: int = 0, n_units: int = 48) -> Piece:
    return Piece(name, (random_clip(seed, n_units),), 8.0)


def test_a_fine_tune_makes_an_ordinary_checkpoint(base: Path, loops: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    report = finetune(loops, out, str(base), OPTIONS)
    assert report["own_change"] < -0.05 and report["steps"] > 0
    assert json.loads((out / "report.json").read_text())["finished"]
    before, after = load_bundle(base), load_bundle(out)
    assert all(torch.equal(tensor, after.tensors[name]) for name, tensor in before.tensors.items())
    pointers = [load_pointer(folder).state_dict() for folder in (base, out)]
    assert any(not torch.equal(tensor, pointers[1][name]) for name, tensor in pointers[0].items())
    assert (out / SEPARATOR_FILE).is_file()
    card = (out / "README.md").read_text()
    for words in (f"Fine-tuned from {base.name}.", "that person's own", "held-out own loops, after"):
        assert words in card
    clips = [read_waveform(out / f"{when}.wav") for when in ("before", "after")]
    assert {clip.n_samples for clip in clips} == {8 * RATE // 2}
    assert np.array_equal(clips[0].samples[: 3 * RATE // 2], clips[1].samples[: 3 * RATE // 2])
    assert Melformer.from_pretrained(out).generate(loops / "loop0_120bpm.wav", n_beats=1).n_beats == 1
    assert not (out / "run").exists()
    with pytest.raises(RequestError, match="finished fine-tune"):
        finetune(loops, out, str(base), OPTIONS)


def test_the_figures_are_those_of_the_checkpoint(base: Path, loops: Path, tmp_path: Path) -> None:
    report = finetune(loops, tmp_path / "mine", str(base), OPTIONS)
    own = own_pieces(survey(loops)[0], loops, load_separator(base), tmp_path / "units", print)
    held_out = [clip for out in split(own)[1] for clip in out.clips]
    for when, model in (("before", base), ("after", tmp_path / "mine")):
        nats = mean_nats(load_pointer(model), held_out)
        assert report[f"nats_own_{when}"] == pytest.approx(nats, rel=5e-3)  # saved in 16 bits


def test_midi_files_alone_are_enough(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "songs"
    folder.mkdir()
    track = mido.MidiTrack()
    for pitch in np.random.default_rng(0).choice([48, 50, 52, 55], 64).tolist():
        track.append(mido.Message("note_on", note=pitch, velocity=90, time=0))
        track.append(mido.Message("note_off", note=pitch, velocity=0, time=480))
    mido.MidiFile(tracks=[track]).save(folder / "song.mid")
    report = finetune(folder, tmp_path / "mine", str(base), OPTIONS)
    assert report["nats_own_after"] < report["nats_own_before"] and "clip_of" not in report


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Ctrl-C in the n-th stretch of training."""
    fit, calls = Trainer.fit, iter(range(1, 100))

    def fit_or_stop(self: Trainer, until: int | None = None) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        fit(self, until)

    monkeypatch.setattr(Trainer, "fit", fit_or_stop)


def test_ctrl_c_leaves_the_best_so_far_and_the_same_command_goes_on(
    base: Path, loops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = finetune(loops, tmp_path / "straight", str(base), OPTIONS)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            finetune(loops, tmp_path / "stopped", str(base), OPTIONS)
    assert load_bundle(tmp_path / "stopped").config == TINY
    assert not (tmp_path / "stopped" / "report.json").exists()
    resumed = finetune(loops, tmp_path / "stopped", str(base), OPTIONS)
    assert {**straight, "seconds": 0} == {**resumed, "seconds": 0}
    a, b = (load_bundle(tmp_path / name).tensors for name in ("straight", "stopped"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_ctrl_c_at_once_leaves_no_checkpoint(
    base: Path, loops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        finetune(loops, tmp_path / "out", str(base), OPTIONS)
    assert not (tmp_path / "out" / "config.json").exists()
    with pytest.raises(RequestError, match="other loops or options"):
        finetune(loops, tmp_path / "out", str(base), FinetuneOptions(steps=9))


@pytest.mark.parametrize(("lr", "most_lost"), [(1e-12, 9.0), (0.9, 0.0)], ids=["learns nothing", "forgets too much"])
def test_what_is_no_better_is_not_written(
    base: Path, loops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lr: float, most_lost: float
) -> None:
    monkeypatch.setattr(finetune_task, "MAX_LOST", most_lost)
    options = FinetuneOptions(steps=2, validate_every=2, lr=lr, engine_share=0.0, batch_size=1)
    with pytest.raises(RequestError, match="holds no checkpoint"):
        finetune(loops, tmp_path / "out", str(base), options)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_too_little_is_refused_with_what_is_needed(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_material, "MIN_BEATS", 128)
    with pytest.raises(RequestError, match=r"3 usable loops .* 24 beats .* at least 128"):
        finetune(write_loops(tmp_path / "few", 3, 8), tmp_path / "out", str(base), OPTIONS)


def test_doubtful_tempi_are_asked_about_first(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_loops(tmp_path / "loops", 2, 16), tmp_path / "out"
    noise = np.random.default_rng(0).standard_normal((5 * RATE, 1)).astype(np.float32) * 0.1
    write_waveform(folder / "texture.wav", Waveform(noise, RATE))
    words = ["finetune", str(folder), "-o", str(out), "--model", str(base), "--steps=2", "--validate-every=2",
             "--engine-share=0", "--batch-size=2", "--lr=0.01"]  # fmt: skip
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "to check: texture.wav" in said and "1 of 3 loops need a look" in said and "--csv" in said
    table = out / "loops.csv"
    lines = table.read_text().splitlines()
    assert lines[0].startswith("file,bpm,source,confidence") and lines[1].startswith("texture.wav")
    table.write_text("\n".join([lines[0], *lines[2:]]))  # the texture is not wanted
    assert main([*words, "--csv", str(table)]) == 0
    assert "nats a half beat on your held-out loops" in capsys.readouterr().out
    assert "2 loops of the person" in (out / "README.md").read_text()


def test_yes_takes_doubtful_tempi_as_found(tmp_path: Path) -> None:
    folder = write_loops(tmp_path / "loops", 1, 8)
    noise = np.random.default_rng(0).standard_normal((5 * RATE, 1)).astype(np.float32) * 0.1
    write_waveform(folder / "texture.wav", Waveform(noise, RATE))
    chosen = choose_loops(folder, tmp_path / "out", None, True, print)
    assert [loop.file for loop in chosen] == ["loop0_120bpm.wav", "texture.wav"]
    assert not any(loop.check for loop in chosen)


@pytest.mark.parametrize("change", [lambda text: text, lambda text: text.replace(",", ";").replace("92.5", "92,5")])
def test_the_table_comes_back_as_it_went(tmp_path: Path, change: Callable[[str], str]) -> None:
    for name in ("a b.wav", "c.wav"):
        (tmp_path / name).touch()
    loops = [OwnLoop("a b.wav", 92.5, "detected", 0.4, 0.25, 3, "bpm"), OwnLoop("c.wav", 120.0, "file name", 0.98)]
    write_table(tmp_path / "t.csv", loops)
    (tmp_path / "t.csv").write_text("\ufeff" + change((tmp_path / "t.csv").read_text()), encoding="utf-8")
    read = [(loop.file, loop.bpm, loop.start_s, loop.beats_per_bar, loop.check) for loop in
            read_table(tmp_path / "t.csv", tmp_path)]  # fmt: skip
    assert read == [("a b.wav", 92.5, 0.25, 3, ""), ("c.wav", 120.0, 0.0, 4, "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,bpm\nnone.wav,120\n", "line 2: there is no none.wav"),
        ("file,bpm\na.wav,fast\n", "line 2: bpm is 'fast'"),
        ("file,bpm\na.wav,\n", "line 2: bpm is ''"),
        ("file,bpm\na.wav,12\n", "line 2: 12 BPM is outside"),
        ("file,bpm,start_s\na.wav,120,-1\n", "line 2: start_s is -1"),
        ("file,bpm,beats_per_bar\na.wav,120,2.5\n", "beats_per_bar 2.5"),
        ("file,bpm\na.wav,120\na.wav,120\n", "lists a.wav twice"),
        ("name,tempo\na.wav,120\n", "needs a line of names"),
        ("", "needs a line of names"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(RequestError, match=message):
        read_table(tmp_path / "t.csv", tmp_path)


def test_many_pieces_are_held_out_whole_and_few_by_halves() -> None:
    many = [piece(str(i), i) for i in range(20)]
    train, held_out = split(many)
    names = [{one.name for one in part} for part in (train, held_out)]
    assert len(names[1]) == 4 and not names[0] & names[1] and names[0] | names[1] == set(map(str, range(20)))
    assert {one.name for one in split(many[::-1])[1]} == names[1]
    train, held_out = split([piece("long"), piece("short", n_units=24)])
    assert [one.clips[0].n_units for one in train] == [24, 24] and [p.clips[0].n_units for p in held_out] == [24]
    with pytest.raises(RequestError, match="at least 8 loops, or longer ones"):
        split([piece("short", n_units=24)])


def test_a_batch_holds_its_share_of_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, engine = [random_clip(0)], [random_clip(1)]
    drawn: list[bool] = []
    monkeypatch.setattr(finetune_task, "make_batch", lambda clips, rng, size: drawn.append(clips[0] is engine[0]))
    monkeypatch.setattr(finetune_task, "pointer_loss", lambda model, batch: {"drums": torch.zeros(())})
    for chosen, share in ((engine, 0.3), ([], 0.0)):
        task = FinetuneTask(Pointer(POINTERS["tiny"]), own, chosen, own, own, 0.3, OPTIONS.training, tmp_path / "best")
        drawn.clear()
        for step in range(400):
            task.loss(task.module, np.random.default_rng(step), step)
        assert abs(float(np.mean(drawn)) - share) < 0.07


def test_the_best_state_is_one_that_forgot_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_task, "MAX_LOST", 0.04)
    history = [{"own": 2.0, "engine": 1.0}, {"own": 1.8, "engine": 1.02}, {"own": 1.6, "engine": 1.2}]
    assert best_index(history) == 1
    assert best_index(history[:1]) == 0


def test_what_sounds_the_same_is_told_from_what_does_not() -> None:
    clip = random_clip(3, 64)
    there = np.arange(32)
    assert (clip.alike[:, there, there + 32, 7] == 100).all()
    assert (clip.alike[:, there, (there + 1) % 32, 7] < 96).all()


def test_a_transposed_unit_is_heard_as_such() -> None:
    clip = random_clip(4, 8)
    mel, chroma = clip.mel[0].astype(np.float32), clip.chroma[0].copy()
    chroma[1] = np.roll(chroma[0], 3, axis=1)
    mel[1] = mel[0][:, ::-1]  # other bands, the same level from frame to frame
    alike, _ = alikeness_of_sound(UnitPictures(mel, chroma))
    assert (alike[1:, 1, 0].argmax(axis=1) == 7 + 3).all() and (alike[1:, 1, 0, 10] >= 96).all()
    assert (alike[0, 1, 0, [6, 8]] == 0).all()  # drums are never transposed


def test_the_engines_passages_are_composed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(finetune_material, "_of_passage", lambda passage, separator: made.append(1) or random_clip(0))
    for _ in range(2):
        assert len(finetune_material.engine_clips(load_separator(tmp_path), 5, 2, tmp_path / "units")) == 2
    assert len(made) == 2
    assert finetune_material.engine_clips(load_separator(tmp_path), 5, 0, tmp_path / "units") == []
