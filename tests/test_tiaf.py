"""The beat grid and back: exact length, SNR ≥ 60 dB, no drift, no decay, and the turntable."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.round_trip import noise, snr_db
from melformer.audio.grid import BeatGrid
from melformer.audio.tiaf import SAMPLES_PER_BEAT, Tiaf
from melformer.audio.waveform import Waveform
from melformer.errors import MelformerError, TempoError, TiafError

RATES = [22_050, 44_100, 48_000, 96_000]
BPMS = [40, 66.15, 90, 119.92, 133.337, 174, 240]


def band_noise(n_samples, n_channels, sample_rate, below_hz, seed=0):
    """Noise with nothing above `below_hz`: the hardest signal that the grid promises to keep."""
    return Waveform(noise(n_samples, n_channels, sample_rate, below_hz, seed).astype(np.float32), sample_rate)


def band_snr_db(expected, actual, sample_rate, below_hz):
    """SNR below a frequency, of windowed spectra: what lies above must not leak into the measurement."""
    window = np.hanning(len(expected))[:, None]
    kept = np.fft.rfftfreq(len(expected), 1 / sample_rate) < below_hz
    whole, back = (np.fft.rfft(signal * window, axis=0)[kept] for signal in (expected, actual))
    return 10 * np.log10(np.sum(np.abs(whole) ** 2) / max(np.sum(np.abs(whole - back) ** 2), 1e-30))


def limit_hz(sample_rate, bpm):
    return 0.45 * min(sample_rate, SAMPLES_PER_BEAT * bpm / 60)


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("bpm", BPMS)
def test_round_trip(sample_rate, bpm):
    n_channels = 1 + int(sample_rate != 48_000)
    n_samples = BeatGrid(bpm, sample_rate).edge(2)
    waveform = band_noise(n_samples, n_channels, sample_rate, limit_hz(sample_rate, bpm))
    tiaf = Tiaf.from_waveform(waveform, bpm)
    assert tiaf.beats.shape == (2, SAMPLES_PER_BEAT, n_channels)
    back = tiaf.to_waveform()
    assert back.sample_rate == sample_rate and back.samples.shape == waveform.samples.shape
    assert snr_db(waveform.samples, back.samples) > 80  # 60 promised; 100 and more measured
    for end in (slice(0, 500), slice(-500, None)):
        assert snr_db(waveform.samples[end], back.samples[end]) > 60


@pytest.mark.parametrize(("sample_rate", "bpm"), [(44_100, 119.92), (48_000, 40), (22_050, 240)])
def test_repeated_trips_do_not_degrade_it(sample_rate, bpm):
    n_samples = BeatGrid(bpm, sample_rate).edge(2)
    waveform = band_noise(n_samples, 2, sample_rate, limit_hz(sample_rate, bpm))
    back = waveform
    for _ in range(10):
        back = Tiaf.from_waveform(back, bpm).to_waveform()
    assert snr_db(waveform.samples, back.samples) > 80  # a droop of 0.01 dB a trip would end at 39 dB


@pytest.mark.parametrize(("sample_rate", "bpm"), [(44_100, 120), (96_000, 60), (22_050, 203.7)])
def test_full_band_noise_is_kept_below_the_limit(sample_rate, bpm):
    n_samples = BeatGrid(bpm, sample_rate).edge(4)
    waveform = band_noise(n_samples, 1, sample_rate, sample_rate)
    back = Tiaf.from_waveform(waveform, bpm).to_waveform()
    assert band_snr_db(waveform.samples, back.samples, sample_rate, limit_hz(sample_rate, bpm)) > 80


@settings(max_examples=25, deadline=None)
@given(
    n_samples=st.integers(1, 30_000),
    bpm=st.floats(40, 240),
    sample_rate=st.sampled_from([8_000, *RATES, 192_000]),
    n_channels=st.integers(1, 2),
    double_time=st.booleans(),
)
def test_any_length_comes_back(n_samples, bpm, sample_rate, n_channels, double_time):
    waveform = Waveform(np.full((n_samples, n_channels), 0.25, np.float32), sample_rate)
    tiaf = Tiaf.from_waveform(waveform, bpm, double_time)
    assert tiaf.to_waveform().samples.shape == waveform.samples.shape
    n_held = tiaf.n_beats * Fraction(60 * sample_rate) / (Fraction(bpm) * tiaf.grid_beats_per_beat)
    assert n_samples <= n_held + 1 and tiaf.n_beats * SAMPLES_PER_BEAT < n_samples * SAMPLES_PER_BEAT + 1


def test_beats_start_where_they_should_to_the_512th():
    """A tone of exactly three cycles a beat starts every row at the same phase."""
    sample_rate, bpm = 8_000, 133.337
    n_samples = BeatGrid(bpm, sample_rate).edge(512)
    positions = np.arange(n_samples) * (bpm / (60 * sample_rate))
    waveform = Waveform(np.cos(2 * np.pi * 3 * positions), sample_rate)
    tiaf = Tiaf.from_waveform(waveform, bpm)
    row = np.cos(2 * np.pi * 3 * np.arange(SAMPLES_PER_BEAT) / SAMPLES_PER_BEAT)
    for beat in (0, 1, 255, 510, 511):
        assert np.abs(tiaf.beats[beat, 500:-500, 0] - row[500:-500]).max() < 1e-5
    back = tiaf.to_waveform()
    assert back.n_samples == n_samples
    assert np.abs(back.samples[-9_000:-100] - waveform.samples[-9_000:-100]).max() < 1e-5


def test_turntable():
    """A loop, and a copy that turns faster with its BPM raised to match, have the same beats."""
    seconds, partials = 3.0, [(110.0, 0.3), (440.7, 0.2), (1_234.5, 0.1), (5_000.0, 0.05)]

    def play(speed):
        time = np.arange(round(seconds / speed * 44_100)) / 44_100 * speed
        return Waveform(sum(level * np.sin(2 * np.pi * hz * time) for hz, level in partials), 44_100)

    plain = Tiaf.from_waveform(play(1.0), 100)
    for speed in (1.25, 0.8, 1.1):
        turned = Tiaf.from_waveform(play(speed), 100 * speed)
        assert snr_db(plain.beats, turned.beats) > 80
        played = plain.to_waveform(bpm=100 * speed)
        assert played.n_samples == round(seconds / speed * 44_100)
        assert snr_db(play(speed).samples, played.samples) > 80


@settings(max_examples=15, deadline=None)
@given(bpm=st.floats(40, 240), other=st.floats(40, 240), rate=st.sampled_from([22_050, 48_000]))
def test_whole_beats_stay_whole_at_another_tempo(bpm, other, rate):
    waveform = Waveform(np.zeros((BeatGrid(bpm, 44_100).edge(3), 1)), 44_100)
    assert Tiaf.from_waveform(waveform, bpm).to_waveform(other, rate).n_samples == BeatGrid(other, rate).edge(3)


def test_a_slow_grid_says_what_it_loses_and_double_time_loses_nothing():
    bpm, rate = 50.0, 44_100
    waveform = band_noise(BeatGrid(bpm, rate).edge(2), 1, rate, 0.45 * rate)
    slow, double = Tiaf.from_waveform(waveform, bpm), Tiaf.from_waveform(waveform, bpm, double_time=True)
    assert "33,333" in slow.message and "double" in slow.message
    assert double.message is None and double.n_beats == 2 * slow.n_beats and double.bpm == bpm
    assert snr_db(waveform.samples, slow.to_waveform().samples) < 20
    assert snr_db(waveform.samples, double.to_waveform().samples) > 80
    assert Tiaf.from_waveform(Waveform(np.zeros(44_100), 44_100), 66.15).message is None
    assert Tiaf.from_waveform(Waveform(np.zeros(44_100), 44_100), 66.14).message is not None


def test_without_edges_only_the_ends_suffer():
    waveform = band_noise(88_200, 1, 44_100, 15_000)
    tiaf = Tiaf.from_waveform(waveform, 120)
    bare = Tiaf(tiaf.beats, 120, 44_100, 88_200).to_waveform()
    assert snr_db(waveform.samples[1_000:-1_000], bare.samples[1_000:-1_000]) > 100
    assert snr_db(waveform.samples, bare.samples) > 60


BEATS = np.zeros((2, SAMPLES_PER_BEAT, 1), np.float32)


@pytest.mark.parametrize(
    "parts",
    [
        {"beats": BEATS[:0]},
        {"beats": BEATS[:, :-1]},
        {"beats": BEATS[:, :, 0]},
        {"beats": BEATS.astype(np.float64)},
        {"beats": np.zeros((2, SAMPLES_PER_BEAT, 3), np.float32)},
        {"beats": BEATS + np.float32(np.nan)},
        {"beats": BEATS.tolist()},
        {"n_samples": 0},
        {"n_samples": 44_102},
        {"n_samples": 22_050},
        {"n_samples": 44_100.0},
        {"bpm": 10},
        {"bpm": float("nan")},
        {"sample_rate": 1},
        {"grid_beats_per_beat": 3},
        {"edges": BEATS[:, :10]},
    ],
)
def test_parts_that_do_not_fit_are_named(parts):
    good = {"beats": BEATS, "bpm": 120, "sample_rate": 44_100, "n_samples": 44_100}
    Tiaf(**good)
    with pytest.raises(MelformerError):
        Tiaf(**(good | parts))


def test_requests_that_cannot_be_met_are_named():
    waveform = Waveform(np.zeros((44_100, 8), np.float32), 44_100)
    with pytest.raises(TiafError, match="8 channels"):
        Tiaf.from_waveform(waveform, 120)
    for bpm in (0, -1, float("nan"), 10_000):
        with pytest.raises(TempoError):
            Tiaf.from_waveform(waveform.mono(), bpm)
        with pytest.raises(TempoError):
            Tiaf.from_waveform(waveform.mono(), 120).to_waveform(bpm)
    with pytest.raises(TiafError, match="too long"):
        Tiaf.from_waveform(Waveform(np.zeros(8_000 * 900, np.float32), 8_000), 240)
