"""The beat grid: exact edges, whole beats."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melformer.audio.grid import BeatGrid, check_bpm, fit_to_grid
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, TempoError

BPMS = st.floats(40, 240)
RATES = st.sampled_from([22_050, 44_100, 48_000, 96_000])


@settings(max_examples=60, deadline=None)
@given(bpm=BPMS, rate=RATES, n_beats=st.integers(0, 512))
def test_edges_never_drift(bpm, rate, n_beats):
    edges = BeatGrid(bpm, rate).edges(n_beats)
    assert edges.dtype == np.int64 and len(edges) == n_beats + 1 and edges[0] == 0
    exact = [Fraction(k * 60 * rate) / Fraction(bpm) for k in range(n_beats + 1)]
    assert max(abs(int(edge) - ideal) for edge, ideal in zip(edges, exact, strict=True)) <= Fraction(500_001, 10**6)


def test_rounded_durations_would_drift():
    """Why edges are rounded one by one: 512 beats at 133 BPM would be off by 77 samples."""
    edges = BeatGrid(133, 44_100).edges(512)
    assert abs(512 * round(60 * 44_100 / 133) - edges[-1]) > 70


@pytest.mark.parametrize("bpm", [0, -1, 39.999, 240.001, 10_000, float("nan"), float("inf"), "x", None, [120], 10**400])
def test_impossible_tempi_are_named(bpm):
    with pytest.raises(TempoError, match="BPM"):
        check_bpm(bpm)


@pytest.mark.parametrize("bpm", [40, 240, "92.5", np.float32(120)])
def test_possible_tempi_are_floats(bpm):
    assert check_bpm(bpm) == float(bpm) and type(check_bpm(bpm)) is float


@pytest.mark.parametrize("n_beats", [-1, 10**9, 1.5, "4", None])
def test_impossible_numbers_of_beats_are_named(n_beats):
    with pytest.raises(TempoError, match="beats"):
        BeatGrid(120, 44_100).edges(n_beats)
    with pytest.raises(AudioError):
        BeatGrid(120, 1).edges(4)


def ramp(n_samples):
    return Waveform(np.linspace(-0.5, 0.5, n_samples, dtype=np.float32), 44_100)


@settings(max_examples=40, deadline=None)
@given(bpm=BPMS, n_beats=st.integers(1, 20), extra=st.floats(-0.24, 0.74))
def test_any_loop_becomes_whole_beats(bpm, n_beats, extra):
    """Under a quarter of a beat short: padded; longer: trimmed; what stays is untouched."""
    n_samples = round((n_beats + extra) * 60 * 44_100 / bpm)
    loop = ramp(n_samples)
    fit = fit_to_grid(loop, bpm)
    assert fit.n_beats == n_beats
    assert fit.waveform.n_samples == BeatGrid(bpm, 44_100).edge(n_beats)
    n_kept = min(n_samples, fit.waveform.n_samples)
    np.testing.assert_array_equal(fit.waveform.samples[:n_kept], loop.samples[:n_kept])
    changed = abs(n_samples - fit.waveform.n_samples) >= 0.02 * 44_100
    assert (fit.message is not None) == changed
    if changed:
        assert ("Padded" if n_samples < fit.waveform.n_samples else "Trimmed") in fit.message


def test_the_message_says_how_much():
    assert fit_to_grid(ramp(44_100), 120).message is None
    assert fit_to_grid(ramp(44_100 + 4_410), 120).message == ("Trimmed the end by 0.10 s to 2 beats.")
    fit = fit_to_grid(ramp(44_100 - 900), 120, start_s=0.5)
    assert fit.message == "Skipped 0.50 s at the start and padded the end by 0.02 s to 1 beat."
    np.testing.assert_array_equal(fit.waveform.samples[:100], ramp(43_200).samples[22_050:22_150])
    assert fit_to_grid(ramp(44_100 - 7), 120, start_s=0.01).message is None


@pytest.mark.parametrize("start_s", [-0.1, 1.0, 1e9, float("nan"), float("inf"), "x", None])
def test_a_start_outside_the_clip_is_named(start_s):
    with pytest.raises(TempoError, match="start"):
        fit_to_grid(ramp(44_100), 120, start_s=start_s)


@pytest.mark.parametrize(("n_samples", "start_s"), [(4_410, 0.0), (1, 0.0), (44_100, 0.9)])
def test_less_than_a_beat_is_named(n_samples, start_s):
    with pytest.raises(TempoError, match="less than a beat"):
        fit_to_grid(ramp(n_samples), 120, start_s=start_s)


def test_the_last_possible_start():
    with pytest.raises(TempoError, match="less than a beat"):
        fit_to_grid(ramp(44_100), 120, start_s=np.nextafter(1.0, 0))
