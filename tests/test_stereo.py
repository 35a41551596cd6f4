"""Side codes: where sounds stand comes back, the middle stays, and mono costs nothing."""

import numpy as np
import pytest

from melformer.codec import stereo
from melformer.codec.stereo import decode_side, encode_side, is_mono, side_bits_per_second
from melformer.evaluate.metrics.stereo_error import stereo_error

RATE, BPM = 44_100, 120.0


def noise(n: int = 4 * RATE, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((n, 1))).astype(np.float32)


def there_and_back(samples: np.ndarray) -> np.ndarray:
    codes = encode_side(samples, RATE, BPM)
    assert codes is not None
    return decode_side(samples.mean(axis=1, keepdims=True), codes, RATE, BPM)


def test_mono_needs_no_side_codes() -> None:
    assert encode_side(noise(), RATE, BPM) is None
    assert encode_side(np.repeat(noise(), 2, axis=1), RATE, BPM) is None
    assert is_mono(noise()) and not is_mono(np.concatenate([noise(), noise(seed=1)], axis=1))


def test_codes_fit_into_their_bits() -> None:
    codes = encode_side(np.concatenate([noise(), noise(seed=1)], axis=1), RATE, BPM)
    assert codes is not None and codes.dtype == np.uint8
    assert codes.shape == (8 * stereo.SLOTS_PER_BEAT, stereo.N_BANDS, 2)  # 4 s at 120 BPM
    assert codes[..., 0].max() < len(stereo.LEVELS_DB) <= 16 and codes[..., 1].max() < len(stereo.CORRELATIONS) <= 8
    assert side_bits_per_second(BPM) * 4.0 == codes.shape[0] * codes.shape[1] * stereo.BITS


@pytest.mark.parametrize("level_db", [-14.0, 0.0, 7.0])
@pytest.mark.parametrize("shared", [0.94, 0.6, 0.0])
def test_place_and_width_come_back(level_db: float, shared: float) -> None:
    """Noise of a known level difference and correlation, both entries of the tables."""
    one, other = noise(), noise(seed=1)
    left = 10.0 ** (level_db / 20.0) * one
    right = shared * one + np.sqrt(1.0 - shared**2, dtype=np.float32) * other
    original = np.concatenate([left, right], axis=1).astype(np.float32)
    error = stereo_error(original, there_and_back(original), RATE)
    assert error.level_db < 1.0
    assert error.correlation < 0.2  # of a range of 2


def test_a_tone_keeps_its_place() -> None:
    """Two steady tones, left and right: nothing may wander between the channels."""
    time_s = np.arange(4 * RATE) / RATE
    low, high = (0.3 * np.sin(2 * np.pi * hz * time_s) for hz in (220.0, 3_520.0))
    original = np.stack([low + 0.25 * high, 0.25 * low + high], axis=1).astype(np.float32)
    decoded = there_and_back(original)
    for hz in (220.0, 3_520.0):
        tone = np.exp(-2j * np.pi * hz * time_s)[:, None]
        ours, theirs = (np.abs((x * tone).sum(axis=0)) for x in (decoded, original))
        assert 20 * np.log10(ours[0] / ours[1]) == pytest.approx(20 * np.log10(theirs[0] / theirs[1]), abs=2.0)


def test_the_mix_of_both_channels_is_the_middle() -> None:
    original = np.concatenate([noise(), 0.5 * noise(seed=1)], axis=1)
    middle = original.mean(axis=1)
    error = there_and_back(original).mean(axis=1) - middle
    assert np.square(error).mean() < 1e-3 * np.square(middle).mean()


def test_channels_that_cancel_do_not_explode() -> None:
    original = np.concatenate([noise(), -0.98 * noise()], axis=1)
    decoded = there_and_back(original)
    assert np.isfinite(decoded).all() and np.abs(decoded).max() <= 2.0 * np.abs(original).max()


def test_silence_stays_silent() -> None:
    original = np.concatenate([noise(), noise(seed=1)], axis=1)
    codes = encode_side(original, RATE, BPM)
    assert codes is not None
    assert not decode_side(np.zeros((len(original), 1), np.float32), codes, RATE, BPM).any()


def test_codes_do_not_know_the_tempo() -> None:
    """The same samples played faster: the same beats, the same codes."""
    original = np.concatenate([noise(), 0.3 * noise(seed=1) + 0.5 * noise()], axis=1)
    slow, fast = encode_side(original, RATE, BPM), encode_side(original, 48_000, BPM * 48_000 / RATE)
    assert slow is not None and fast is not None
    assert (slow == fast).mean() > 0.98  # a value on the edge between two entries may fall either way
