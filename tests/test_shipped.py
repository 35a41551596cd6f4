"""The contract's invariants on the embedded checkpoint; the preset `tiny`, which has the same parts, runs the rest."""

from pathlib import Path

import numpy as np
import pytest
import torch

from melformer.audio.beats import Tiaf
from melformer.audio.grid import BeatGrid
from melformer.generate import GenerationConfig, Melformer, StreamState

FUNK = Path(__file__).resolve().parents[1] / "examples" / "funk_100bpm.flac"


@pytest.fixture(scope="module")
def model() -> Melformer:
    return Melformer.from_pretrained()


def test_same_beat_same_codes(model: Melformer) -> None:
    """Whatever stands beside it, and wherever it stands in the loop."""
    waveform = model.prompt(FUNK).waveform
    grid = BeatGrid(100, waveform.sample_rate)
    beats = torch.from_numpy(grid.model_beats(waveform, 3, model.config.codec.samples_per_beat))
    codes = model.codec.encode(beats)
    turned = model.codec.encode(beats[[2, 0, 0, 1]])
    assert torch.equal(turned, codes[[2, 0, 0, 1]])
    assert not torch.equal(codes[0], codes[1])


def test_streamed_whole_resumed_and_first_of_many_are_one(model: Melformer, tmp_path: Path) -> None:
    prompt = model.prompt(FUNK)
    config = GenerationConfig(variation=0.8)
    first, other = model.generate(prompt, 4, seeds=[3, 4], config=config)
    stream = model.stream(prompt, seed=3, config=config)
    beats = [next(stream), next(stream)]
    stream.state().save(tmp_path / "half.stream")
    beats += list(model.resume(StreamState.load(tmp_path / "half.stream"), 2))
    assert np.array_equal(np.concatenate([beat.codes for beat in beats]), first.codes)
    assert not np.array_equal(first.codes, other.codes)
    samples = np.concatenate([beat.waveform.samples for beat in beats])
    assert np.abs(samples - first.new.samples).max() < 1e-5


def test_a_loop_goes_through_a_tiaf_and_keeps_its_first_codebooks(model: Melformer) -> None:
    waveform = model.prompt(FUNK).waveform
    back = Tiaf.from_waveform(waveform, 100.0).to_waveform()
    assert back.n_samples == waveform.n_samples
    same = model.encode(back, 100.0) == model.encode(waveform, 100.0)
    assert same[..., :3].mean() > 0.95  # the way there and back adds noise at −60 dB or less
