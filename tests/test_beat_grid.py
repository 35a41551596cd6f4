"""One object owns the arithmetic of beats: its numbers agree with each other, and with exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melformer.audio.grid import BeatGrid, beats_per_second, bpm_of, model_tempo, seconds_per_beat
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, TempoError

BPMS = st.one_of(st.floats(40, 240), st.integers(40, 240), st.decimals(40, 240, places=2).map(float))
RATES = st.sampled_from([22_050, 44_100, 48_000, 96_000])
GRID_SAMPLES = 2_400


def tone(n_samples: int, rate: int, hz: float = 200.0) -> Waveform:
    return Waveform(np.sin(2 * np.pi * hz * np.arange(n_samples) / rate).astype(np.float32), rate)


@settings(max_examples=60, deadline=None)
@given(bpm=BPMS, rate=RATES, n_beats=st.integers(1, 300))
def test_edges_lengths_and_counts_agree(bpm: float, rate: int, n_beats: int) -> None:
    grid = BeatGrid(bpm, rate)
    edges = grid.edges(n_beats)
    assert grid.samples_per_beat == Fraction(60 * rate) / Fraction(bpm)
    for beat in {0, 1, n_beats // 2, n_beats}:
        assert edges[beat] == grid.edge(beat)
        assert abs(edges[beat] - beat * grid.samples_per_beat) <= Fraction(500_001, 10**6)
    assert abs(grid.beats_in(int(edges[-1])) - n_beats) * grid.samples_per_beat <= 0.51  # half a sample of rounding


@given(bpm=BPMS)
def test_the_model_hears_one_octave_of_tempo(bpm: float) -> None:
    grid = BeatGrid(bpm, 44_100)
    assert 90 <= grid.model_bpm < 180
    assert grid.model_bpm == bpm * grid.model_beats_per_beat
    assert grid.model_beats_per_beat in (0.5, 1, 2, 4)
    assert grid.samples_per_model_beat * Fraction(grid.model_beats_per_beat) == grid.samples_per_beat
    assert (grid.model_bpm, grid.model_beats_per_beat) == model_tempo(bpm)


@pytest.mark.parametrize(
    ("bpm", "n_beats", "n_model", "skipped"),
    [(45, 3, 6, 0), (44, 3, 12, 0), (89.9, 3, 6, 0), (120, 3, 3, 0), (200, 8, 4, 0), (200, 7, 3, 13_230)],
)
def test_model_beats_end_where_beats_end(bpm: float, n_beats: int, n_model: int, skipped: int) -> None:
    """Above 180 BPM an odd beat is left out, at the beginning."""
    grid = BeatGrid(bpm, 44_100)
    assert (grid.n_model_beats(n_beats), grid.n_skipped(n_beats)) == (n_model, skipped)
    end = skipped + n_model * grid.samples_per_model_beat
    assert abs(end - grid.edge(n_beats)) <= 1


@pytest.mark.parametrize("bpm", [44, 75, 119.92, 140, 180, 200, 239.9])
@pytest.mark.parametrize("n_beats", [4, 5])
def test_model_beats_hold_the_clips_samples(bpm: float, n_beats: int) -> None:
    """A slow tone read on the model's grid is that tone at the grid's exact places."""
    grid = BeatGrid(bpm, 44_100)
    clip = tone(grid.edge(n_beats), 44_100)
    beats = grid.model_beats(clip, n_beats, GRID_SAMPLES)
    assert beats.shape == (grid.n_model_beats(n_beats), GRID_SAMPLES) and beats.dtype == np.float32
    at = grid.n_skipped(n_beats) + np.arange(beats.size) * float(grid.model_step(GRID_SAMPLES))
    expected = np.sin(2 * np.pi * 200.0 * at / 44_100)
    inside = slice(600, -600)  # the signal is carried on past its ends, but not as a sine
    np.testing.assert_allclose(beats.reshape(-1)[inside], expected[inside], atol=1e-3)


def test_the_same_loop_at_another_rate_gives_the_same_steps() -> None:
    """Grid positions in seconds do not depend on the rate, and doubling the grid halves the step."""
    low, high = BeatGrid(92.5, 22_050), BeatGrid(92.5, 44_100)
    assert 2 * low.step(40_000) == high.step(40_000)
    assert low.step(80_000) * 2 == low.step(40_000)
    assert low.model_step(24_000) == low.step(24_000)


def test_seconds_and_tempi_turn_into_each_other() -> None:
    assert seconds_per_beat(150) == 0.4 and beats_per_second(150) == 2.5 and bpm_of(5, 2.0) == 150
    np.testing.assert_array_equal(seconds_per_beat(np.array([60.0, 120.0])), [1.0, 0.5])


@pytest.mark.parametrize("bpm", [0, 39.9, 241, float("nan"), "fast", None])
def test_a_grid_of_an_impossible_tempo_is_named(bpm: object) -> None:
    with pytest.raises(TempoError, match="BPM"):
        BeatGrid(bpm, 44_100)  # type: ignore[arg-type]


def test_a_grid_of_an_impossible_rate_is_named() -> None:
    with pytest.raises(AudioError, match="Hz"):
        BeatGrid(120, 100)
