"""The scorer of sources: what it is shown is measured rightly, it learns, and a model keeps it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from melformer.audio.io import Waveform, write_waveform
from melformer.codec.partials import PartialsCodebook
from melformer.config import PRESETS
from melformer.data.source_pairs import Pair, make_pair, roughened
from melformer.errors import RequestError
from melformer.evaluate.plots import copied_energy, sources_figure
from melformer.generate import Melformer
from melformer.hub import save_bundle
from melformer.train import scorer as train_scorer

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
    return [make_pair(model.codec, loop, 120.0, passage(99), N_BANDS, rng) for loop, rng in loops]


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
    scorer = train_scorer.SourceScorer(8, 24, 8, book)

    def beat(hz: float) -> torch.Tensor:
        frequency = torch.full((16, 4), hz / 2.0)
        weight = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand(16, 4)  # 110 cycles a beat lie in the second register
        return torch.cat([torch.zeros(16, 3, dtype=torch.int64), book.encode(torch.cat([frequency, weight], -1))], -1)

    prompt = torch.stack([beat(220.0), beat(222.0), beat(247.0)])
    tones = scorer.tones(prompt)
    assert tones.shape == (3, 16, len(scorer.notch_bands)) and bool((tones.sum(dim=-1) > 0).all())
    bands = torch.zeros(3, 16, 24)
    recorded = train_scorer.PromptFeatures(torch.zeros(3, 16, 8), prompt, bands, bands, tones)
    lacks, has, there = scorer._compare_tones(recorded, beat(220.0))
    distances = (lacks + has).sum(dim=-1)  # (F, P)
    assert bool((distances[:, 0] == 0.0).all()) and bool((distances[:, 1] > 0.0).all())
    assert bool((distances[:, 1] < 0.5 * distances[:, 2]).all())
    assert int(there[0].argmax()) == int(lacks[0, 2].argmax())  # it lies in one band


def test_a_codec_without_partials_has_no_tones(model: Melformer) -> None:
    scorer = train_scorer.SourceScorer(8, 24, 8, model.codec.quantizer.partials)
    assert not scorer.partials and not scorer.tones(torch.ones(2, 16, 4, dtype=torch.int64)).any()


def test_training_lowers_the_loss_and_is_the_same_again(model: Melformer) -> None:
    material = pairs(model, 2)

    def quality(scorer: train_scorer.SourceScorer) -> float:
        with torch.no_grad():
            lessons = [train_scorer.lesson(scorer, model.codec, pair) for pair in material]
            return float(np.mean([float(train_scorer.loss(scorer, one, 1, torch.tensor(20.0))) for one in lessons]))

    before, after, again = (train_scorer.train_scorer(model.codec, material, steps, dim=8) for steps in (1, 30, 30))
    assert quality(after) < 0.8 * quality(before)
    for a, b in zip(after.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_roughening_changes_the_sound_and_not_its_shape() -> None:
    loop = passage(1)
    changed = [roughened(loop, passage(2), np.random.default_rng(seed)) for seed in range(8)]
    assert all(new.samples.shape == loop.samples.shape and np.isfinite(new.samples).all() for new in changed)
    assert sum(not np.array_equal(new.samples, loop.samples) for new in changed) >= 6


def test_a_model_keeps_its_scorer(model: Melformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, loops = tmp_path / "model", tmp_path / "loops"
    save_bundle(folder, model.config, model.state_dict(), "a card")
    for seed in range(2):
        write_waveform(loops / f"loop{seed}_120bpm.wav", passage(seed))
    arguments = [str(loops), str(folder), "--loops", "2", "--steps", "2", "--cache", str(tmp_path / "cache")]
    (tmp_path / "cache").mkdir()
    for _ in range(2):  # the second time it is replaced, from what the first has measured
        monkeypatch.setattr("sys.argv", ["sources", *arguments])
        train_scorer.main()
    trained = Melformer.from_pretrained(folder)
    assert trained.codec.scorer is not None and trained.config.codec.n_source_bands == train_scorer.N_BANDS
    made = trained.continue_loop(passage(1, 4), n_beats=2, bpm=120.0)
    assert made.band_lags.shape == (32, train_scorer.N_BANDS)
    kept, bare = trained.state_dict(), model.state_dict()
    assert all(torch.allclose(kept[name], bare[name].float(), atol=1e-6) for name in bare)


def test_short_loops_are_refused(model: Melformer, tmp_path: Path) -> None:
    write_waveform(tmp_path / "short_120bpm.wav", passage(0, 4))
    with pytest.raises(RequestError, match="16 beats"):
        train_scorer.gather(model.codec, tmp_path, 1, None)


def test_the_share_of_energy_is_that_of_the_copied_bands() -> None:
    time = np.arange(4 * BEAT) / RATE
    sound = Waveform(np.sin(2 * np.pi * 200.0 * time)[:, None].astype(np.float32), RATE)
    lags = np.zeros((64, N_BANDS), np.int64)
    lags[:, 0] = 4  # the lowest band holds the tone
    lags[32:] = 0
    share = copied_energy(lags, sound)
    assert (share[4:28] > 0.95).all() and (share[36:60] < 0.05).all()
    assert sources_figure(lags, 16, sound, "a tone").axes
