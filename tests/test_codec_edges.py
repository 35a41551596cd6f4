"""The shipped codec at the edges of what loops hold: silence, clicks, slow and fast tempi, the lowest notes."""

import numpy as np
import pytest

from melformer.audio.waveform import Waveform
from melformer.generate import Melformer

RATE = 44_100


@pytest.fixture(scope="module")
def model() -> Melformer:
    return Melformer.from_pretrained()


def loop(samples: np.ndarray) -> Waveform:
    return Waveform(samples.astype(np.float32)[:, None], RATE)


def seconds(n_beats: int, bpm: float) -> np.ndarray:
    return np.arange(round(n_beats * 60.0 * RATE / bpm)) / RATE


def envelope(samples: np.ndarray) -> np.ndarray:
    return np.abs(samples[: len(samples) // 256 * 256]).reshape(-1, 256).mean(axis=1)


def test_silence_stays_silence(model: Melformer) -> None:
    silent = loop(0.0 * seconds(4, 120.0))
    decoded = model.reconstruct(silent, 120.0)
    assert np.abs(decoded.samples).max() <= 1e-4  # −80 dBFS


def test_a_full_scale_click_neither_explodes_nor_clips(model: Melformer) -> None:
    samples = 0.0 * seconds(4, 120.0)
    samples[RATE : RATE + 4] = 1.0
    decoded = model.reconstruct(loop(samples), 120.0).samples[:, 0]
    assert np.isfinite(decoded).all() and np.abs(decoded).max() <= 1.0
    near = slice(RATE - RATE // 10, RATE + RATE // 10)
    energy = np.square(decoded, dtype=np.float64)
    assert energy[near].sum() > 0.9 * energy.sum() > 0.0  # it is heard where it stands, and hardly elsewhere


@pytest.mark.parametrize(("bpm", "n_beats"), [(40.0, 4), (240.0, 8), (239.0, 5)])
def test_slow_and_fast_loops_are_folded(model: Melformer, bpm: float, n_beats: int) -> None:
    """A burst on every beat comes back on every beat, in the loop's own length; 5 fast beats are 2.5 of the model's."""
    time_s = seconds(n_beats, bpm)
    since_beat = time_s % (60.0 / bpm)
    bursts = 0.5 * np.sin(2 * np.pi * 200.0 * since_beat) * np.exp(-since_beat / 0.02)
    decoded = model.reconstruct(loop(bursts), bpm)
    assert decoded.n_samples == len(time_s)
    assert np.corrcoef(envelope(bursts), envelope(decoded.samples[:, 0]))[0, 1] > 0.8
