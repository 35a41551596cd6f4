"""What is new, what is the loop again, the floor and the loudest beat: perfect, golden, invalid and silent input."""

import numpy as np
import pytest
from evaluate_band import RATE, play

from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics.new_beats import score_new_beats
from melformer.evaluate.systems import references

BPM = 120.0
N_SAMPLES = RATE // 2  # of a beat


def coloured(n_beats: int, seed: int) -> Waveform:
    """Beats of noise, each of a colour of its own: gains between −30 and 0 dB in 24 bands."""
    rng = np.random.default_rng(seed)
    beats = []
    for _ in range(n_beats):
        spectrum = np.fft.rfft(rng.standard_normal(N_SAMPLES))
        spectrum *= 10 ** (np.repeat(rng.uniform(-30, 0, 24), len(spectrum) // 24 + 1)[: len(spectrum)] / 20)
        beats.append(np.fft.irfft(spectrum, N_SAMPLES))
    return Waveform((0.1 * np.concatenate(beats)).astype(np.float32), RATE)


@pytest.fixture(scope="module")
def prompt() -> Waveform:
    return coloured(8, seed=0)


def beats(waveform: Waveform, first: int, stop: int) -> np.ndarray:
    return waveform.samples[first * N_SAMPLES : stop * N_SAMPLES]


def score(prompt: Waveform, new: Waveform):
    return score_new_beats(prompt, new, BPM, 8, 8)


def test_the_loop_played_round_is_nothing_new(prompt):
    scores = score(prompt, references.looped(prompt, BPM, 8))
    assert (scores.new_share, scores.loop_share, scores.is_loop_again) == (0, 1, True)
    assert scores.floor_rise_db == pytest.approx(0, abs=1e-6)
    assert scores.level_jump_db == pytest.approx(0, abs=1e-6)


def test_a_softer_loop_is_still_the_loop_and_one_beat_may_be_louder(prompt):
    softer = score(prompt, Waveform(prompt.samples * np.float32(0.5), RATE))
    assert (softer.new_share, softer.loop_share) == (0, 1)
    assert softer.level_jump_db == pytest.approx(-6.02, abs=0.01)
    samples = prompt.samples.copy()
    samples[2 * N_SAMPLES : 3 * N_SAMPLES] *= 2
    assert score(prompt, Waveform(samples, RATE)).new_share == 0


def test_beats_in_another_order_are_not_new_but_not_the_loop(prompt):
    swapped = Waveform(np.concatenate([beats(prompt, 4, 8), beats(prompt, 0, 4)]), RATE)
    scores = score(prompt, swapped)
    assert (scores.new_share, scores.loop_share) == (0, 0)


def test_half_of_the_beats_new_is_a_half(prompt):
    mixed = Waveform(np.concatenate([beats(prompt, 0, 4), beats(coloured(8, seed=1), 4, 8)]), RATE)
    scores = score(prompt, mixed)
    assert (scores.new_share, scores.loop_share, scores.is_loop_again) == (0.5, 0.5, False)


def test_noise_between_the_hits_raises_the_floor():
    band = play(8)
    noise = np.random.default_rng(0).standard_normal(band.samples.shape).astype(np.float32) * np.float32(1e-3)
    floors = [score(band, Waveform(band.samples + gain * noise, RATE)).floor_rise_db for gain in (1, 10)]
    assert 0 < floors[0] < floors[1]
    assert floors[1] > 5


def test_a_loud_beat_is_told_and_silence_is_new(prompt):
    levels = [float(np.square(beats(prompt, k, k + 1)).mean()) for k in range(8)]
    loudest = int(np.argmax(levels))
    samples = prompt.samples.copy()
    samples[loudest * N_SAMPLES : (loudest + 1) * N_SAMPLES] *= 8
    loud = score(prompt, Waveform(samples, RATE))
    assert loud.level_jump_db == pytest.approx(18.06, abs=0.01)
    assert loud.new_share == 1 / 8  # more than a matter of level
    silence = score(prompt, Waveform(np.zeros_like(samples), RATE))
    assert (silence.new_share, silence.loop_share, silence.floor_rise_db) == (1, 0, 0)
    assert silence.level_jump_db < -60


def test_missing_ends_are_silent_other_rates_measured_and_no_beats_refused(prompt):
    assert score(prompt, Waveform(beats(prompt, 0, 1), RATE)).new_share == 7 / 8
    at_48k = resample(prompt, 48_000)
    assert score(prompt, at_48k).loop_share == 1
    with pytest.raises(AudioError, match="got 8 of the prompt and 0"):
        score_new_beats(prompt, prompt, BPM, 8, 0)
