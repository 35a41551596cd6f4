"""Separation: ratios, leakage, recombination and the table, on known mixes, silence and stems that sound alone."""

import json

import numpy as np
import pytest
import recombination
import separation_scores
from evaluate_band import RATE, play
from separation_metrics import (
    onset_leakage,
    partial_leakage,
    score_separation,
    sdr_db,
    sdr_improvement_db,
)

from melformer.audio.grid import beat_edges
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.systems.rules import median_filter_stems

BPM, N_BEATS = 120.0, 8
NOTE = np.dtype([("onset", "<i4"), ("duration", "<i4"), ("instrument", "<i2"), ("pitch", "<i2"), ("velocity", "<i2")])


def tone(hz: float, n_samples: int, level: float = 0.2) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(n_samples) / RATE)).astype(np.float32)[:, None]


def clicks(n_samples: int, start_s: float, level: float = 0.5) -> np.ndarray:
    """A burst of noise each half second."""
    rng, out = np.random.default_rng(0), np.zeros((n_samples, 1), np.float32)
    for at in np.arange(start_s, n_samples / RATE - 0.1, 0.5):
        start = round(at * RATE)
        out[start : start + 2000, 0] += level * rng.standard_normal(2000) * np.exp(-np.arange(2000) / 300)
    return out


def plucks(hz: float, n_samples: int, start_s: float) -> np.ndarray:
    """A decaying tone each half second."""
    out = np.zeros((n_samples, 1), np.float32)
    for at in np.arange(start_s, n_samples / RATE - 0.3, 0.5):
        start = round(at * RATE)
        t = np.arange(10_000) / RATE
        out[start : start + 10_000, 0] += 0.3 * np.sin(2 * np.pi * hz * t) * np.exp(-t / 0.06)
    return out


@pytest.fixture(scope="module")
def stems() -> dict[str, np.ndarray]:
    n = 4 * RATE
    return {"drums": clicks(n, 0.05), "bass": plucks(98.0, n, 0.3), "other": tone(880.0, n)}


def test_ratios_of_known_errors():
    truth = tone(440.0, RATE)
    assert sdr_db(truth, truth) == 80.0
    assert sdr_db(truth, 0.9 * truth) == pytest.approx(20, abs=0.01)
    assert sdr_db(truth, np.zeros_like(truth)) == pytest.approx(0, abs=1e-6)
    assert np.isnan(sdr_db(np.zeros_like(truth), truth))
    rest = 0.1 * tone(990.0, RATE)
    mix = truth + rest
    assert sdr_improvement_db(truth, mix, mix) == pytest.approx(0)
    assert sdr_improvement_db(truth, truth + 0.1 * rest, mix) == pytest.approx(20, abs=0.01)


def test_what_is_silent_or_alone_is_not_judged(stems):
    loud = stems["other"]
    quiet = loud * np.float32(10 ** (-41 / 20))
    for truth, mix in ((np.zeros_like(loud), loud), (loud, loud), (quiet, loud + quiet), (loud, loud + quiet)):
        assert np.isnan(sdr_improvement_db(truth, truth, mix))
    heard = stems["bass"] * np.float32(10 ** (-30 / 20))
    assert np.isfinite(sdr_improvement_db(heard, heard, loud + heard))


@pytest.mark.parametrize("bad", [np.ones((10, 1)), np.full((RATE, 1), np.nan), np.ones((RATE, 2))])
def test_other_shapes_and_broken_samples_are_refused(bad):
    with pytest.raises(AudioError):
        sdr_db(tone(440.0, RATE), bad)


def test_leakage_is_none_for_true_stems_and_all_for_the_mix(stems):
    mix = sum(stems.values())
    drums, rest = stems["drums"], mix - stems["drums"]
    assert onset_leakage(drums, drums, rest, RATE) == 0
    assert onset_leakage(mix, drums, rest, RATE) == 1
    half = drums.copy()
    half[: 2 * RATE] = mix[: 2 * RATE]
    assert 0.3 < onset_leakage(half, drums, rest, RATE) < 0.7
    for name in ("bass", "other"):
        true, others = stems[name], mix - stems[name]
        assert partial_leakage(true, true, others) < 0.1
        assert partial_leakage(mix, true, others) == pytest.approx(1)
        assert partial_leakage(true + 0.5 * others, true, others) == pytest.approx(0.25, abs=0.08)


def test_leakage_without_other_sounds_is_unknown(stems):
    silence = np.zeros_like(stems["drums"])
    assert np.isnan(onset_leakage(stems["drums"], stems["drums"], silence, RATE))
    assert np.isnan(partial_leakage(stems["other"], stems["other"], silence))


def test_scores_of_all_stems(stems):
    perfect = score_separation(stems, stems, RATE)
    assert {name: perfect[name]["sdr_db"] for name in stems} == dict.fromkeys(stems, 80.0)
    mix = sum(stems.values())
    nothing = score_separation(stems, dict.fromkeys(stems, mix), RATE)
    assert all(nothing[name]["sdr_improvement_db"] == pytest.approx(0, abs=1e-6) for name in stems)
    with pytest.raises(AudioError, match="lacks other"):
        score_separation(stems, {"drums": mix, "bass": mix}, RATE)


def test_median_filters_add_up_and_beat_the_mix(stems):
    mix = sum(stems.values())
    made = {name: w.samples for name, w in median_filter_stems(Waveform(mix, RATE)).items()}
    assert np.abs(sum(made.values()) - mix).max() < 1e-6
    scores = score_separation(stems, made, RATE)
    assert all(scores[name]["sdr_improvement_db"] > 3 for name in stems)


def pitched(onsets: list[int], pitches: list[int], duration: int = 12) -> np.ndarray:
    return np.array([(o, duration, 0, p, 127) for o, p in zip(onsets, pitches, strict=True)], NOTE)


def test_sources_are_the_loop_where_it_goes_on_and_shifted_where_the_truth_is():
    first = [0, 0, 12, 12, 24, 24, 36, 36]  # four chords, none a transposition of another
    again = pitched([*first, *(48 + t for t in first)], [36, 40, 36, 43, 36, 41, 36, 45] * 2)
    assert recombination.best_sources(recombination.piano_roll(again, 8), 4, 4) == [(i, 0) for i in range(8)]
    higher = [38, 42, 38, 45, 38, 43, 38, 47]
    moved = pitched([*first, *(48 + t for t in first)], [36, 40, 36, 43, 36, 41, 36, 45, *higher])
    assert recombination.best_sources(recombination.piano_roll(moved, 8), 4, 4) == [(i, 2) for i in range(8)]
    silent = pitched(first, [36, 40, 36, 43, 36, 41, 36, 45])
    assert recombination.best_sources(recombination.piano_roll(silent, 8), 4, 4) == [None] * 8


def test_rendered_sources_in_order_are_the_loop():
    loop = play(N_BEATS)
    order = [(i, 0) for i in range(2 * N_BEATS)]
    made = recombination.render_sources(loop, order, BPM, N_BEATS)
    assert np.array_equal(made[: -RATE // 10], loop.samples[: -RATE // 10])
    assert not recombination.render_sources(loop, [None] * 16, BPM, N_BEATS).any()
    later = recombination.render_sources(loop, order[4:] + order[:4], BPM, N_BEATS)
    edge = beat_edges(N_BEATS, BPM, RATE)[2]
    assert np.array_equal(later[RATE // 10 : RATE], loop.samples[edge + RATE // 10 : edge + RATE])


def test_a_loop_that_goes_on_is_recognised():
    again = {"drums": pitched([0, 12, 48, 60], [36, 38] * 2), "bass": pitched([], [])}
    assert recombination.is_loop_again(again, 4, 4)
    assert not recombination.is_loop_again({**again, "bass": pitched([50], [40])}, 4, 4)


def test_recombination_scores_are_perfect_for_the_truth():
    truth = play(N_BEATS)
    same = recombination.score_recombination(truth, truth, BPM, N_BEATS)
    assert (same.mel_db, same.chroma_cosine) == (0, pytest.approx(1))
    other = recombination.score_recombination(truth, play(N_BEATS, chords=((311.1, 392.0),)), BPM, N_BEATS)
    assert other.mel_db > 0.1
    assert other.chroma_cosine < 0.9


def test_the_table_holds_the_references_and_a_separator(stems, tmp_path):
    mixes = [separation_scores.Mix("one", BPM, {name: Waveform(samples, RATE) for name, samples in stems.items()})]
    separators = {"half way": lambda mix, bpm: median_filter_stems(mix), **separation_scores.reference_separators()}
    summary = separation_scores.summarise(separation_scores.measure_separators(mixes, separators))
    assert summary[separation_scores.TRUE_STEMS]["drums"]["sdr_db"] == 80.0
    assert summary[separation_scores.THE_MIX]["other"]["sdr_improvement_db"] == pytest.approx(0, abs=1e-6)
    assert summary["half way"]["bass"]["over_baseline_db"] == 0
    assert summary[separation_scores.THE_MIX]["bass"]["below_baseline"] == 1
    text = separation_scores.separation_table(summary)
    assert len(text.splitlines()) == 2 + 3 * len(separators)
    assert separation_scores.main(["--no-model", "--songs", str(tmp_path)]) == 2


def test_the_way_from_filters_to_true_stems():
    recombined = {
        separation_scores.BASELINE: {"mel_db": 6.0, "chroma_cosine": 0.9},
        "ours": {"mel_db": 5.0, "chroma_cosine": 0.94},
        separation_scores.TRUE_STEMS: {"mel_db": 4.0, "chroma_cosine": 0.95},
    }
    assert separation_scores.way_to_true_stems(recombined, "ours", "mel_db") == pytest.approx(0.5)
    assert separation_scores.way_to_true_stems(recombined, "ours", "chroma_cosine") == pytest.approx(0.8)


def test_results_say_where_they_come_from(tmp_path):
    from melformer.evaluate.results import write_results

    write_results(tmp_path / "r.json", "a command", {"value": float("nan"), "list": [np.float32(1)]})
    read = json.loads((tmp_path / "r.json").read_text())
    assert (read["command"], read["value"], read["list"]) == ("a command", None, [1.0])
    assert {"machine", "commit", "date"} <= set(read)
