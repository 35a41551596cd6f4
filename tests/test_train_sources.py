"""The scorer of sources: what it is shown is measured rightly, it learns, and a model keeps it."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from melformer.audio.io import Waveform, write_waveform
from melformer.cli import main
from melformer.codec.partials import PartialsCodebook
from melformer.codec.source_scorer import PromptFeatures, SourceScorer
from melformer.config import PRESETS
from melformer.data.source_pairs import Pair, cut_loops, make_pair, read_pairs, roughened
from melformer.errors import RequestError
from melformer.generate import Melformer
from melformer.generate.mixes.continue_mix import continue_mix
from melformer.hub import save_bundle
from melformer.train.options import TrainOptions
from melformer.train.tasks.scorer import ScorerModule, ScorerTask, make_lesson
from melformer.train.trainer import Trainer

RATE, BEAT, N_BANDS = 22_050, 11_025, 6


@pytest.fixture(scope="module")
def model() -> Melformer:
    torch.manual_seed(0)
    return Melformer(PRESETS["tiny"])


def passage(seed: int, n_beats: int = 16, period: int = 4) -> Waveform:
    """Beats of coloured noise that come again every `period` beats."""
    rng = np.random.default_rng(seed)
    beats = np.cumsum(rng.standard_normal((period, BEAT)), axis=1) * 0.002 + 0.05 * rng.standard_normal((period, 1))
    beats += 0.1 * rng.random((period, 1)) * rng.standard_normal((period, BEAT))
    return Waveform(np.tile(beats.ravel(), n_beats // period)[:, None].astype(np.float32), RATE)


def pairs(model: Melformer, n: int) -> list[Pair]:
    """Some exact, some roughened."""
    loops = [(passage(seed), np.random.default_rng(seed)) for seed in range(n)]
    return [make_pair(model.codec, loop, 120.0, passage(99), rng) for loop, rng in loops]


def test_distances_are_zero_for_what_comes_again_and_not_for_the_rest(model: Melformer) -> None:
    long = [pair for pair in pairs(model, 6) if len(pair.codes) > 4]
    n_frames = long[0].codes.shape[1]
    exact = min(
        long, key=lambda p: float(p.truth.beat(1, n_frames).distance(p.prompt.beat(1, n_frames), n_frames).mean())
    )
    same = exact.truth.beat(1, n_frames).distance(exact.prompt.beat(1, n_frames), n_frames)
    other = exact.truth.beat(1, n_frames).distance(exact.prompt.beat(2, n_frames), n_frames)
    assert same.shape == (1, n_frames, N_BANDS)
    assert same[:, 2:-2].max() < 0.02 and other.mean() > 0.05  # at a beat's edges the neighbours are heard as well


def test_a_pair_comes_back_from_its_file(model: Melformer, tmp_path: Path) -> None:
    pair = pairs(model, 1)[0]
    pair.save(tmp_path / "pair.npz")
    again = Pair.load(tmp_path / "pair.npz")
    assert torch.equal(again.codes, pair.codes) and torch.equal(again.prompt_codes, pair.prompt_codes)
    for name in ("prompt", "truth", "decoded"):
        for a, b in zip(getattr(again, name).views, getattr(pair, name).views, strict=True):
            assert (a.float() - b).abs().max() < 2e-3  # 16-bit floats


def test_tones_are_told_apart_by_their_pitch() -> None:
    """Codes of one note, of the same a hair higher, and of another: what each prompt beat lacks and has beside."""
    book = PartialsCodebook(4, 1_024, 4)
    scorer = SourceScorer(8, 24, 8, book, 24_000)

    def beat(hz: float) -> torch.Tensor:
        frequency = torch.full((16, 4), hz / 2.0)
        weight = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand(16, 4)  # 110 cycles a beat lie in the second register
        return torch.cat([torch.zeros(16, 3, dtype=torch.int64), book.encode(torch.cat([frequency, weight], -1))], -1)

    prompt = torch.stack([beat(220.0), beat(222.0), beat(247.0)])
    tones = scorer.tones(prompt)
    assert tones.shape == (3, 16, len(scorer.notch_bands)) and bool((tones.sum(dim=-1) > 0).all())
    bands = torch.zeros(3, 16, 24)
    recorded = PromptFeatures(torch.zeros(3, 16, 8), prompt, bands, bands, tones)
    lacks, has, there = scorer._compare_tones(recorded, beat(220.0))
    distances = (lacks + has).sum(dim=-1)  # (F, P)
    assert bool((distances[:, 0] == 0.0).all()) and bool((distances[:, 1] > 0.0).all())
    assert bool((distances[:, 1] < 0.5 * distances[:, 2]).all())
    assert int(there[0].argmax()) == int(lacks[0, 2].argmax())  # it lies in one band


OPTIONS = TrainOptions(
    steps=30, batch_size=2, lr=3e-3, warmup_steps=0, weight_decay=0.0, ema_decay=0.9, validate_every=10, save_every=10,
    bf16=False,
)  # fmt: skip


def train(model: Melformer, material: list[Pair], run: Path, until: int) -> SourceScorer:
    """A scorer trained to a step, from where the run stopped."""
    torch.manual_seed(9)  # what is drawn must not depend on it
    task = ScorerTask(copy.deepcopy(model.codec), material, OPTIONS, lambda *_: None)
    trainer = Trainer(task, OPTIONS, run)
    if (run / "state.pt").exists():
        trainer.resume()
    trainer.fit(until)
    return task.module.scorer


def test_training_lowers_the_loss_and_stopped_and_resumed_equals_straight(model: Melformer, tmp_path: Path) -> None:
    material = pairs(model, 3)

    def quality(scorer: SourceScorer) -> float:
        module = ScorerModule(scorer).eval()
        with torch.no_grad():
            lessons = [make_lesson(scorer, model.codec, pair) for pair in material[:2]]
            return float(np.mean([float(module(one, [1])["total"]) for one in lessons]))

    short = train(model, material, tmp_path / "short", 1)
    straight = train(model, material, tmp_path / "straight", 30)
    assert quality(straight) < 0.9 * quality(short)
    train(model, material, tmp_path / "stopped", 10)
    resumed = train(model, material, tmp_path / "stopped", 30)
    for a, b in zip(straight.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_roughening_changes_the_sound_and_not_its_shape() -> None:
    loop = passage(1)
    changed = [roughened(loop, passage(2), np.random.default_rng(seed)) for seed in range(8)]
    assert all(new.samples.shape == loop.samples.shape and np.isfinite(new.samples).all() for new in changed)
    assert sum(not np.array_equal(new.samples, loop.samples) for new in changed) >= 6


def test_a_whole_model_gets_a_new_scorer_and_keeps_the_rest(model: Melformer, tmp_path: Path) -> None:
    folder, loops, out = tmp_path / "model", tmp_path / "loops", tmp_path / "run"
    save_bundle(folder, model.config, model.state_dict(), "a card")
    for seed in range(2):
        write_waveform(loops / f"loop{seed}_120bpm.wav", passage(seed))
    words = ["--data", str(loops), "--codec", str(folder), "-o", str(out), "--preset", "tiny", "--steps", "2"]
    assert main(["train", "scorer", *words, "--threads", "1"]) == 0
    trained = Melformer.from_pretrained(out / "checkpoint")
    assert (out / "checkpoint" / "README.md").read_text() == "a card"
    kept, bare = trained.state_dict(), model.state_dict()
    changed = {name for name in bare if not torch.equal(kept[name], bare[name])}
    assert changed and all(name.startswith("codec.scorer.") for name in changed)
    assert continue_mix(trained, trained.prompt(passage(1, 4), bpm=120.0), 2).lags.shape == (32,)


def test_short_loops_are_refused(model: Melformer, tmp_path: Path) -> None:
    write_waveform(tmp_path / "in" / "short_120bpm.wav", passage(0, 4))
    with pytest.raises(RequestError, match="16 beats"):
        cut_loops(model.codec, [tmp_path / "in"], 1, tmp_path / "pairs")


def test_cut_loops_are_kept_and_the_rest_is_added(model: Melformer, tmp_path: Path) -> None:
    for seed in range(3):
        write_waveform(tmp_path / "in" / f"loop{seed}_120bpm.wav", passage(seed))
    cut_loops(model.codec, [tmp_path / "in"], 1, tmp_path / "pairs")
    (first,) = (tmp_path / "pairs").glob("*.npz")
    before = first.stat().st_mtime_ns
    cut_loops(model.codec, [tmp_path / "in"], 2, tmp_path / "pairs")
    assert len(read_pairs(tmp_path / "pairs")) == 2 and first.stat().st_mtime_ns == before


def test_one_loop_is_too_few(model: Melformer) -> None:
    with pytest.raises(RequestError, match="at least 2"):
        ScorerTask(model.codec, pairs(model, 1), OPTIONS, lambda *_: None)
