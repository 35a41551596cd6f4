"""Fine-tuning: the table of tempi, low-rank changes, what is held out, and a checkpoint that loads everywhere."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from melformer.audio.io import Waveform, read_waveform, write_waveform
from melformer.cli import main
from melformer.config import PRESETS
from melformer.data.own_loops import OwnLoop, read_table, survey, write_table
from melformer.errors import RequestError
from melformer.evaluate.transformer_scores import CodePassage, score_passage
from melformer.generate import Melformer
from melformer.hub import load_bundle, save_bundle
from melformer.train.finetune import finetune as command
from melformer.train.finetune import material as finetune_material
from melformer.train.finetune import result as result
from melformer.train.finetune import task as finetune_task
from melformer.train.finetune.finetune import FinetuneOptions, choose_loops, finetune
from melformer.train.finetune.material import engine_held_out, engine_material, own_material
from melformer.train.finetune.task import CodedLoop, LoopMix, beat_bits, best_index, mean_bits, split
from melformer.train.lora import add_lora, merged
from melformer.train.trainer import Trainer
from melformer.transformer.model import BeatTransformer, Conditioning

TINY = PRESETS["tiny"]
OPTIONS = FinetuneOptions(steps=20, validate_every=4, lr=1e-2, engine_share=0.0, batch_size=4)
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
    return save_bundle(tmp_path_factory.mktemp("base"), TINY, tensors, "# tiny\n")


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_loops(tmp_path_factory.mktemp("own") / "loops", 8, 8)


@pytest.fixture(autouse=True)
def random_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composing takes seconds a passage, so what is forgotten is measured on random codes; and little is enough."""
    monkeypatch.setattr(finetune_material, "MIN_BEATS", 30)
    monkeypatch.setattr(finetune_material, "GAINS", (1.0, 0.6))
    monkeypatch.setattr(result, "CLIP_BEATS", 4)
    monkeypatch.setattr(command, "engine_held_out", lambda codec, cache: [coded("engine", 8, seed=9)])


def coded(name: str, n_beats: int, seed: int = 0, **more: Any) -> CodedLoop:
    codes = np.random.default_rng(seed).integers(64, size=(n_beats, 16, 3)).astype(np.uint16)
    return CodedLoop(name, codes, 120.0, 4, **more)


def tiny_transformer() -> BeatTransformer:
    torch.manual_seed(0)
    return BeatTransformer(TINY.transformer, TINY.codec.latent_frames_per_beat, TINY.codec.codebook_size).eval()


def predict(transformer: BeatTransformer) -> torch.Tensor:
    codes = torch.from_numpy(coded("x", 6).codes.astype(np.int64))[None]
    conditioning = Conditioning(torch.zeros(1), torch.arange(6)[None] % 4)
    with torch.no_grad():
        return transformer(codes, conditioning, torch.arange(6)).logits


def test_a_fine_tune_makes_an_ordinary_checkpoint(base: Path, loops: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    report = finetune(loops, out, str(base), OPTIONS)
    assert report["own_change"] < -0.05 and report["steps"] > 0
    assert json.loads((out / "report.json").read_text())["finished"]
    before, after = load_bundle(base), load_bundle(out)
    changed = [name for name, tensor in before.tensors.items() if not torch.equal(tensor, after.tensors[name])]
    assert changed and all(name.startswith("transformer.") for name in changed)
    card = (out / "README.md").read_text()
    for words in (f"Fine-tuned from {base.name}.", "that person's own", "held-out own loops, after"):
        assert words in card
    clips = [read_waveform(out / f"{when}.wav") for when in ("before", "after")]
    assert {clip.n_samples for clip in clips} == {8 * RATE // 2}
    assert np.array_equal(clips[0].samples[: 3 * RATE // 2], clips[1].samples[: 3 * RATE // 2])
    assert Melformer.from_pretrained(out).continue_loop(loops / "loop0_120bpm.wav", n_beats=1).n_beats == 1
    assert not (out / "run").exists()
    with pytest.raises(RequestError, match="finished fine-tune"):
        finetune(loops, out, str(base), OPTIONS)


@pytest.mark.parametrize("lora", [0, 2])
def test_the_figures_are_those_of_the_checkpoint(base: Path, loops: Path, tmp_path: Path, lora: int) -> None:
    options = replace(OPTIONS, lora=lora, lr=3e-2 if lora else 1e-2)
    report = finetune(loops, tmp_path / "mine", str(base), options)
    own = own_material(Melformer.from_pretrained(base).codec, survey(loops)[0], loops, tmp_path / "own.npz", print)
    for when, model in (("before", base), ("after", tmp_path / "mine")):
        bits = mean_bits(Melformer.from_pretrained(model).transformer, split(own)[1])
        # Saved in 16 bits, and multiplied in eight where the processor can: a few thousandths.
        assert report[f"bits_per_beat_own_{when}"] == pytest.approx(bits, rel=5e-3)
    assert report["own_change"] < -0.03


def test_the_decoder_learns_too_where_it_is_asked(base: Path, loops: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    options = replace(OPTIONS, steps=4, decoder_steps=8)
    report = finetune(loops, out, str(base), options)
    assert report["decoder_loss_own_after"] < report["decoder_loss_own_before"]
    before, after = load_bundle(base), load_bundle(out)
    changed = {name.rsplit(".", 1)[0] for name, t in before.tensors.items() if not torch.equal(t, after.tensors[name])}
    assert any(name.startswith("codec.decoder.") for name in changed)
    assert not any(name.startswith(("codec.encoder.", "codec.quantizer.")) for name in changed)
    assert "the decoder alone" in (out / "README.md").read_text()


def test_low_rank_is_merged_away(base: Path, loops: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    options = FinetuneOptions(steps=4, validate_every=4, lora=2, lr=3e-2, engine_share=0.0, batch_size=4)
    assert finetune(loops, out, str(base), options)["own_change"] < 0
    before, after = load_bundle(base), load_bundle(out)
    assert before.tensors.keys() == after.tensors.keys()
    name = "transformer.beats.blocks.0.attention.project_in.weight"
    change = after.tensors[name].float() - before.tensors[name].float()
    assert change.abs().max() > 1e-3
    values = torch.linalg.svdvals(change)
    assert values[2:].max() < 0.1 * values[0]  # what is left is the rounding to 16 bits
    table = "transformer.codes.weight"
    assert torch.equal(before.tensors[table], after.tensors[table])


def test_low_rank_changes_nothing_at_first_and_merges_exactly() -> None:
    transformer = tiny_transformer()
    n_all, before = sum(p.numel() for p in transformer.parameters()), predict(transformer)
    learned = add_lora(transformer, 2)
    assert torch.equal(before, predict(transformer))
    assert sum(p.numel() for p in learned) < 0.3 * n_all
    with torch.no_grad():
        for parameter in learned:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    ordinary = tiny_transformer()
    ordinary.load_state_dict(merged(transformer))
    assert not torch.allclose(before, predict(transformer), atol=1e-2)
    assert torch.allclose(predict(ordinary), predict(transformer), atol=1e-5)
    for rank in (0, 300, 200):
        with pytest.raises(RequestError, match="rank"):
            add_lora(tiny_transformer(), rank)


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


@pytest.mark.parametrize(("lr", "most_lost"), [(1e-12, 0.04), (0.9, 0.0)], ids=["learns nothing", "forgets too much"])
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
    assert "bits a beat on your held-out loops" in capsys.readouterr().out
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


def test_many_loops_are_held_out_whole_and_few_by_halves() -> None:
    many = [coded(str(i), 8, i) for i in range(20)]
    train, held_out = split(many)
    names = [{loop.name for loop in part} for part in (train, held_out)]
    assert len(names[1]) == 4 and not names[0] & names[1] and names[0] | names[1] == set(map(str, range(20)))
    assert {loop.name for loop in split(many[::-1])[1]} == names[1]
    train, held_out = split([coded("a", 10, versions=(np.zeros((10, 16, 3), int), np.ones((10, 16, 3), int)))])
    assert [len(codes) for codes in train[0].versions] == [5, 5] and held_out[0].scored_from == 5
    assert len(held_out[0].codes) == 10


def test_a_batch_holds_its_share_of_the_engine() -> None:
    own, engine = (CodedLoop("", np.full((8, 2, 1), value), 120.0, 4) for value in (0, 1))
    rng = np.random.default_rng(0)
    shares = [LoopMix([own], [engine], 0.3).batch(rng, 8, 8).codes.float().mean() for _ in range(200)]
    assert abs(float(np.mean(shares)) - 0.3) < 0.02
    assert LoopMix([own], [], 0.3).batch(rng, 8, 8).codes.sum() == 0


def test_bits_are_those_of_the_evaluation() -> None:
    transformer, loop = tiny_transformer(), coded("x", 20)
    expected, _ = score_passage(transformer, CodePassage("x", loop.codes.astype(np.int64), 120.0, 4))
    assert np.allclose(beat_bits(transformer, loop), expected, rtol=1e-4)
    half = coded("x", 20, scored_from=10)
    assert np.isclose(mean_bits(transformer, [half]), expected[10:].mean(), rtol=1e-4)


def test_the_best_state_is_one_that_forgot_little() -> None:
    history = [{"own": 100.0, "engine": 50.0}, {"own": 90.0, "engine": 51.0}, {"own": 80.0, "engine": 60.0}]
    assert best_index(history) == 1
    assert best_index(history[:1]) == 0


def test_the_engines_passages_are_composed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Melformer(TINY).codec.eval()
    monkeypatch.setattr(finetune_material, "N_ENGINE_HELD_OUT", 1)
    monkeypatch.setattr(finetune_material, "HELD_OUT_BEATS", 2)
    first = engine_held_out(codec, tmp_path / "held_out.npz")
    monkeypatch.setattr(finetune_material, "coded", None)
    again = engine_held_out(codec, tmp_path / "held_out.npz")
    assert np.array_equal(first[0].codes, again[0].codes) and first[0].name == again[0].name == "engine_10000000"
    assert engine_material(codec, 0, tmp_path / "none.npz", 0) == []
