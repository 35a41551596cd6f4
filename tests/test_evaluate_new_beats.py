"""What is new, what is the loop again, the floor and the loudest beat: perfect, golden, invalid and silent input."""

import numpy as np
import pytest
from evaluate_band import RATE, play

from melformer.audio.grid import beat_edges
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate import references
from melformer.evaluate.metrics.new_beats import score_new_beats

BPM = 120.0
OTHER_CHORDS = ((311.1, 392.0, 466.2), (349.2, 415.3, 523.3))


@pytest.fixture(scope="module")
def prompt() -> Waveform:
    return play(8)


def score(prompt: Waveform, new: Waveform):
    return score_new_beats(prompt, new, BPM, 8, 8)


def test_the_loop_played_round_is_nothing_new(prompt):
    scores = score(prompt, references.looped(prompt, BPM, 8))
    assert (scores.new_share, scores.loop_share, scores.is_loop_again) == (0, 1, True)
    assert scores.floor_rise_db == pytest.approx(0, abs=1e-6)
    assert scores.level_jump_db == pytest.approx(0, abs=1e-6)


def test_a_softer_loop_is_still_the_loop(prompt):
    scores = score(prompt, Waveform(prompt.samples * np.float32(0.5), RATE))
    assert (scores.new_share, scores.loop_share) == (0, 1)
    assert scores.level_jump_db == pytest.approx(-6.02, abs=0.01)


def test_beats_in_another_order_are_not_new_but_not_the_loop(prompt):
    edges = beat_edges(8, BPM, RATE)
    swapped = Waveform(np.concatenate([prompt.samples[edges[4] :], prompt.samples[: edges[4]]]), RATE)
    scores = score(prompt, swapped)
    assert (scores.new_share, scores.loop_share) == (0, 0)


def test_half_of_the_beats_new_is_a_half(prompt):
    edges = beat_edges(8, BPM, RATE)
    other = play(8, chords=OTHER_CHORDS)
    mixed = Waveform(np.concatenate([prompt.samples[: edges[4]], other.samples[edges[4] :]]), RATE)
    scores = score(prompt, mixed)
    assert (scores.new_share, scores.loop_share, scores.is_loop_again) == (0.5, 0.5, False)


def test_noise_between_the_hits_raises_the_floor_and_only_that(prompt):
    noise = np.random.default_rng(0).standard_normal(prompt.samples.shape).astype(np.float32) * np.float32(1e-3)
    floors = [score(prompt, Waveform(prompt.samples + gain * noise, RATE)).floor_rise_db for gain in (1, 10)]
    assert 0 < floors[0] < floors[1]
    assert floors[1] > 5


def test_a_loud_beat_is_told_and_silence_is_new(prompt):
    edges = beat_edges(8, BPM, RATE)
    loud = prompt.samples.copy()
    loud[edges[2] : edges[3]] *= 4
    assert score(prompt, Waveform(loud, RATE)).level_jump_db == pytest.approx(12.04, abs=0.1)
    silence = score(prompt, Waveform(np.zeros_like(loud), RATE))
    assert (silence.new_share, silence.loop_share, silence.floor_rise_db) == (1, 0, 0)
    assert silence.level_jump_db < -60


def test_other_rates_and_missing_ends_are_measured_and_no_beats_are_refused(prompt):
    assert score(prompt, Waveform(prompt.samples[: RATE // 2], RATE)).new_share == pytest.approx(7 / 8)
    with pytest.raises(AudioError, match="got 8 of the prompt and 0"):
        score_new_beats(prompt, prompt, BPM, 8, 0)
