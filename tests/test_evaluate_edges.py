"""Each measure of a pair on empty, invalid, perfect and golden input: the four that a measure must know."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from melformer.audio.io import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics import continuation, distances, onset_agreement, tonality
from melformer.evaluate.metrics.beat_features import beat_features
from melformer.evaluate.metrics.seam import seam_quality
from melformer.evaluate.metrics.stereo_error import stereo_error

RATE = 22_050
Measure = Callable[[np.ndarray, np.ndarray, int], Any]


def music(seconds: float = 2.0) -> np.ndarray:
    """Four beats a second of a plucked A and its octaves, float32 (n_samples,)."""
    time = np.arange(round(seconds * RATE)) / RATE
    pluck = np.exp(-8 * (time % 0.25))
    return (0.2 * pluck * sum(np.sin(2 * np.pi * 220 * k * time) / k for k in (1, 2, 4))).astype(np.float32)


MUSIC = music()
NOISE = (0.1 * np.random.default_rng(0).standard_normal(len(MUSIC))).astype(np.float32)
LOG_2 = float(np.log10(2.0))  # what halving takes from every bin of noise, of which none is at the floor
LATE = np.roll(MUSIC, round(0.1 * RATE))  # no onset within 25 ms of its own
# name: (measure, of a perfect copy, reference, estimate, golden value, tolerance)
MEASURES: dict[str, tuple[Measure, float, np.ndarray, np.ndarray, float, float]] = {
    "mel": (distances.mel_distance, 0.0, NOISE, NOISE / 2, 7 * LOG_2, 0.05),  # seven scales
    "LSD": (distances.log_spectral_distance, 0.0, NOISE, NOISE / 2, 6.02, 0.05),
    "SI-SDR": (lambda a, b, rate: distances.si_sdr(a, b), 80.0, MUSIC, MUSIC / 2, 80.0, 0.0),
    "LUFS err": (distances.loudness_error, 0.0, MUSIC, MUSIC / 2, 6.02, 0.01),
    "onset F1": (onset_agreement.onset_f1, 1.0, MUSIC, LATE, 0.0, 0.0),
    "chroma": (tonality.chroma_cosine, 1.0, MUSIC, MUSIC / 2, 1.0, 0.01),
    "cents": (tonality.pitch_error_cents, 0.0, MUSIC, MUSIC / 2, 0.0, 0.5),
    "HNR": (tonality.harmonicity_error_db, 0.0, MUSIC, MUSIC / 2, 0.0, 0.1),
}


@pytest.mark.parametrize("name", MEASURES)
def test_perfect_and_golden(name: str) -> None:
    measure, perfect, reference, estimate, golden, tolerance = MEASURES[name]
    assert measure(reference, reference, RATE) == pytest.approx(perfect, abs=1e-4)
    assert abs(measure(reference, estimate, RATE)) == pytest.approx(golden, abs=tolerance + 1e-9)


@pytest.mark.parametrize("name", [*MEASURES, "stereo"])
@pytest.mark.parametrize("fault", ["empty", "NaN", "infinite", "longer"])
def test_empty_and_invalid(name: str, fault: str) -> None:
    measure = stereo_error if name == "stereo" else MEASURES[name][0]
    broken = {"empty": MUSIC[:0], "NaN": MUSIC.copy(), "infinite": MUSIC.copy(), "longer": np.append(MUSIC, 0.0)}[fault]
    if fault in ("NaN", "infinite"):
        broken[1_000] = np.nan if fault == "NaN" else np.inf
    with pytest.raises(AudioError):
        measure(MUSIC if fault == "longer" else broken, broken, RATE)


def test_stereo_of_a_copy_and_of_a_swap() -> None:
    left_only = np.stack([MUSIC, np.zeros_like(MUSIC)], axis=1)
    same, swapped = (stereo_error(left_only, other, RATE) for other in (left_only, left_only[:, ::-1]))
    assert (same.level_db, same.correlation) == (0.0, 0.0)
    assert swapped.level_db == pytest.approx(60.0, abs=1.0)  # from one limit to the other


def test_features_and_seams_of_nothing() -> None:
    silence = Waveform(np.zeros((RATE, 1), np.float32), RATE)
    with pytest.raises(AudioError):
        beat_features(silence, 120.0, 0)
    with pytest.raises(AudioError):
        seam_quality(silence, 10, np.array([0, RATE // 2]))
    with pytest.raises(AudioError):
        Waveform(np.zeros((0, 1), np.float32), RATE)  # so nothing empty can reach the others
    features = beat_features(silence, 120.0, 2)
    assert np.isnan(continuation.grid_error_ms(features)).all()


def test_a_seam_like_the_others_is_ordinary() -> None:
    clip = Waveform(music(4.0)[:, None], RATE)
    edges = np.arange(0, 16) * RATE // 4
    seam = seam_quality(clip, int(edges[8]), edges)
    assert seam.click == pytest.approx(1.0, abs=0.5)  # beats lie half a sample apart here, and bends are that sharp
    assert seam.jump == pytest.approx(1.0, abs=0.5)
