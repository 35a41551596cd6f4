"""Resampling: exact in time, flat to 0.47 of the lower rate, quiet above it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melformer.audio.extend import extend_ends
from melformer.audio.resample import resample, resample_span
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError


def snr_db(expected, actual):
    error = np.sum((np.asarray(expected, np.float64) - actual) ** 2)
    return 10 * np.log10(np.sum(np.asarray(expected, np.float64) ** 2) / max(error, 1e-30))


def tone(frequency, n_samples, step=1.0):
    """cos(2π·frequency·j·step), frequency in cycles per source sample."""
    return np.cos(2 * np.pi * frequency * np.arange(n_samples) * float(step))[:, None]


@pytest.mark.parametrize(("source", "target"), [(44_100, 48_000), (48_000, 44_100), (22_050, 96_000), (96_000, 22_050)])
@pytest.mark.parametrize("frequency", [0.001, 0.2, 0.45, 0.469])
def test_tones_keep_frequency_phase_and_level(source, target, frequency):
    lower = min(source, target)
    waveform = Waveform(tone(frequency * lower / source, 2 * source), source)
    result = resample(waveform, target)
    assert result.sample_rate == target and result.n_samples == 2 * target
    expected = tone(frequency * lower / target, 2 * target)
    assert snr_db(expected, result.samples) > 80  # at the ends the tone has to be guessed; elsewhere it is > 130


@pytest.mark.parametrize("frequency", [0.5, 0.6, 0.9])
def test_what_the_lower_rate_cannot_hold_is_gone(frequency):
    waveform = Waveform(tone(frequency * 22_050 / 48_000, 48_000), 48_000)
    middle = resample(waveform, 22_050).samples[1_000:-1_000]
    assert 20 * np.log10(np.abs(middle).max()) < -100  # an alias at −100 dB is inaudible


@pytest.mark.parametrize("bpm", [119.92, 133.337, 61.3])
def test_no_drift_over_512_beats(bpm):
    """The last beat stands where it should within 1e-4 samples; with a step rounded to 32 bits it is 1e-3 off."""
    step = Fraction(60 * 8_000) / (Fraction(bpm) * 4_000)
    n_out = 512 * 4_000
    n_in = round(n_out * step)
    frequency = 0.3 / max(1.0, float(step))
    result = resample_span(tone(frequency, n_in), step, 0, n_out)
    last = slice(n_out - 6_000, n_out - 2_000)
    positions = np.arange(n_out)[last] * float(step)
    turned = np.exp(-2j * np.pi * frequency * positions) * result[last, 0]
    samples_off = np.angle(turned.mean()) / (2 * np.pi * frequency)
    assert abs(samples_off) < 1e-4 * max(1.0, float(step))


@settings(max_examples=20, deadline=None)
@given(
    rates=st.lists(st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000]), min_size=2, max_size=2),
    n_samples=st.integers(1, 3_000),
    n_channels=st.integers(1, 3),
)
def test_length_shape_and_finiteness(rates, n_samples, n_channels):
    source, target = rates
    rng = np.random.default_rng(n_samples)
    waveform = Waveform(rng.uniform(-1, 1, (n_samples, n_channels)).astype(np.float32), source)
    result = resample(waveform, target)
    assert result.n_samples == max(1, round(Fraction(n_samples * target, source)))
    assert result.n_channels == n_channels and result.samples.dtype == np.float32
    assert np.abs(result.samples).max() < 4


@pytest.mark.parametrize("step", [Fraction(2, 3), Fraction(44_100, 26_667), Fraction(6_615, 11_992)])
def test_a_part_equals_the_same_part_of_the_whole(step):
    """Blocks leave no seams: any span can be computed alone."""
    rng = np.random.default_rng(3)
    samples = resample_span(rng.standard_normal((200_000, 1)), Fraction(1, 1), 0, 200_000, low_pass=True)
    whole = resample_span(samples, step, 0, 150_000)
    for start, n_out in ((0, 500), (70_000, 3_000), (99_999, 1)):
        part = resample_span(samples, step, start, n_out)
        # Noise of unit power up to half the rate is the worst case: the last bins below it ring longest.
        assert np.abs(part - whole[start : start + n_out]).max() < 5e-5


def test_the_same_rate_changes_nothing_and_others_are_checked():
    waveform = Waveform(np.ones(10), 44_100)
    assert resample(waveform, 44_100) is waveform
    with pytest.raises(AudioError):
        resample(waveform, 1)


@pytest.mark.parametrize("n_samples", [1, 2, 3, 50, 5_000])
@pytest.mark.parametrize("kind", ["silence", "constant", "alternating", "tone", "noise", "tiny", "loud"])
def test_ends_go_on_smoothly_and_fade_away(n_samples, kind):
    index = np.arange(n_samples)[:, None]
    samples = {
        "silence": np.zeros((n_samples, 1)),
        "constant": np.ones((n_samples, 1)),
        "alternating": (-1.0) ** index,
        "tone": np.sin(index * 0.1),
        "noise": np.random.default_rng(0).standard_normal((n_samples, 1)),
        "tiny": np.full((n_samples, 1), 1e-30),
        "loud": np.full((n_samples, 1), 6e4),
    }[kind].astype(np.float32)
    longer = extend_ends(samples, 600, 700)
    assert len(longer) == n_samples + 1_300
    np.testing.assert_array_equal(longer[600 : 600 + n_samples], samples)
    assert np.isfinite(longer).all() and not longer[:80].any() and not longer[-180:].any()
    assert np.abs(longer).max() <= 2.001 * np.abs(samples).max()


def test_a_tone_is_carried_on():
    samples = np.sin(np.arange(3_000) * 0.1)[:, None]
    longer = extend_ends(samples, 0, 512)[-512:, 0]
    assert np.abs(longer[:20] - np.sin(np.arange(3_000, 3_020) * 0.1)).max() < 0.02  # the fade has taken 0.4% by then
