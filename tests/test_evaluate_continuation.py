"""Continuation metrics: perfect, golden, invalid and empty input, and that noise ranks below music."""

import dataclasses

import numpy as np
import pytest
from evaluate_band import RATE, play

from melformer.audio.grid import BeatGrid
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics import beat_features, continuation
from melformer.evaluate.metrics.seam import seam_quality
from melformer.evaluate.systems import references

BPM = 120.0


def score(prompt: Waveform, new: Waveform, n_prompt: int = 8, n_new: int = 8):
    return continuation.score_continuation(prompt, new, BPM, n_prompt, n_new)


@pytest.fixture(scope="module")
def prompt() -> Waveform:
    return play(8)


@pytest.fixture(scope="module")
def true(prompt) -> Waveform:
    return play(8, seed=1)


def test_just_looping_a_loop_is_perfect_and_nothing_new(prompt):
    looped = score(prompt, references.looped(prompt, BPM, 8))
    assert looped.onset_grid_f1 == 1.0
    assert looped.groove_similarity == pytest.approx(1, abs=0.02)  # the first bar's decays lie differently
    assert looped.chroma_cosine > 0.99
    assert looped.key_agreement == 1.0
    assert looped.loudness_drift_db < 0.2
    assert looped.centroid_drift_octaves < 0.02
    assert (looped.silent_share, looped.stuck_share, looped.novelty) == (0, 0, 0)
    assert looped.grid_error_ms < 4
    assert looped.tempo_error_percent < 0.3
    assert looped.length_error_ms == 0
    assert looped.seam_click < 2
    assert looped.seam_jump < 2


def test_noise_and_silence_rank_below_music(prompt, true):
    good, noise = score(prompt, true), score(prompt, references.white_noise(true))
    silence = score(prompt, Waveform(np.zeros_like(true.samples), RATE))
    for name in ("onset_grid_f1", "groove_similarity", "chroma_cosine", "key_agreement"):
        for bad in (noise, silence):
            assert getattr(bad, name) < getattr(good, name) - 0.2, name
    for name in ("loudness_drift_db", "centroid_drift_octaves"):
        assert getattr(noise, name) > getattr(good, name) + 1, name
    for name in ("grid_error_ms", "grid_error_p95_ms", "tempo_error_percent"):
        assert np.isnan(getattr(noise, name))
        assert np.isnan(getattr(silence, name))
    assert silence.silent_share == 1.0
    assert silence.loudness_drift_db > 40


def test_another_key_lowers_chroma_and_key_only(prompt):
    factor = 2 ** (1 / 12)
    moved = play(8, chords=[tuple(f * factor for f in c) for c in ((261.6, 329.6, 392.0), (220.0, 261.6, 329.6))])
    result = score(prompt, moved)
    assert result.chroma_cosine < 0.7
    assert result.key_agreement < 1
    assert result.onset_grid_f1 == 1.0


def test_a_moved_groove_lowers_the_rhythm_measures(prompt, true):
    off = score(prompt, Waveform(np.roll(true.samples, round(0.37 * 0.5 * RATE), axis=0), RATE))
    assert off.onset_grid_f1 < 0.6
    assert off.groove_similarity < 0.6
    assert off.grid_error_ms > 40  # 0.37 of a beat is 60 ms from a 16th
    swung = score(prompt, play(8, swing=0.06))
    assert swung.grid_error_p95_ms == pytest.approx(30, abs=4)


def test_a_slower_copy_has_a_tempo_and_a_length_error(prompt):
    slow = play(8, bpm=BPM / 1.02)
    result = score(prompt, slow)
    assert result.tempo_error_percent == pytest.approx(2, abs=0.3)
    assert result.length_error_ms == pytest.approx(80, abs=1)  # 4 s, 2% longer


def test_a_stuck_beat_is_noticed_but_not_in_a_prompt_that_is_one(prompt, true):
    edges = BeatGrid(BPM, RATE).edges(16)
    one = true.samples[: edges[1]]
    stuck = Waveform(np.tile(one, (16, 1)), RATE)
    assert score(prompt, stuck, n_new=16).stuck_share == 1.0
    assert score(prompt, Waveform(np.tile(one, (8, 1)), RATE)).stuck_share == 0.0  # 8 times is allowed
    same = Waveform(np.tile(one, (4, 1)), RATE)
    assert score(same, stuck, n_prompt=4, n_new=16).stuck_share == 0.0
    half = Waveform(np.concatenate([np.tile(one, (12, 1)), true.samples[: edges[4]]]), RATE)
    assert 0.7 <= score(prompt, half, n_new=16).stuck_share <= 0.82


def test_novelty_counts_beats_that_no_earlier_beat_equals(prompt, true):
    edges = BeatGrid(BPM, RATE).edges(8)
    new = prompt.samples.copy()
    new[edges[2] : edges[4]] = references.white_noise(prompt).samples[edges[2] : edges[4]] * 0.5
    assert score(prompt, Waveform(new, RATE)).novelty == pytest.approx(2 / 8, abs=0.13)


def test_drift_is_measured_per_sixteen_beats(prompt):
    long = play(32)
    fading = Waveform(long.samples * np.linspace(1, 0.25, long.n_samples, dtype=np.float32)[:, None], RATE)
    drift = score(prompt, fading, n_new=32).loudness_drift_db
    assert 6 < drift < 12  # −12 dB at the end
    assert score(prompt, long, n_new=32).loudness_drift_db < 0.5


def test_impossible_input_is_a_named_error(prompt):
    with pytest.raises(AudioError, match="rate"):
        score(prompt, Waveform(prompt.samples, 48_000))
    with pytest.raises(AudioError, match="one beat"):
        score(prompt, prompt, n_new=0)
    with pytest.raises(AudioError, match="nothing to average"):
        continuation.mean_scores([])
    tiny = score(prompt, prompt.slice(0, 3000), n_new=1)  # shorter than its beat: silent from there on
    assert tiny.length_error_ms > 400


def test_mean_scores_leaves_out_nan_and_takes_seams_geometrically(prompt, true):
    one = score(prompt, true)
    low, high = (dataclasses.replace(one, seam_click=c, novelty=n) for c, n in ((0.5, float("nan")), (2.0, 0.5)))
    mean = continuation.mean_scores([low, high])
    assert mean.seam_click == pytest.approx(1.0)
    assert mean.novelty == 0.5


def test_self_similarity_tells_form():
    chord, other = ((261.6, 329.6, 392.0),), ((233.1, 311.1, 370.0),)
    abab = play(8, chords=chord + other)
    abab_again, aabb = play(8, chords=chord + other, seed=5), play(16, bpm=240, chords=chord + other)
    features = [beat_features.beat_features(w, BPM, 8) for w in (abab, abab_again, aabb)]
    assert np.diag(beat_features.self_similarity(features[0])) == pytest.approx(1)
    assert beat_features.self_similarity_correlation(features[0], features[0]) == pytest.approx(1)
    assert beat_features.self_similarity_correlation(features[0], features[1]) > 0.8
    with pytest.raises(AudioError, match="beat by beat"):
        beat_features.self_similarity_correlation(features[0], beat_features.beat_features(abab, BPM, 4))


def test_a_cut_in_a_wave_is_a_click_and_a_cut_between_sounds_a_jump():
    t = np.arange(4 * RATE) / RATE
    wave = (0.3 * np.sin(2 * np.pi * 110.0 * t)).astype(np.float32)
    edges = BeatGrid(BPM, RATE).edges(8)
    smooth = seam_quality(Waveform(wave, RATE), int(edges[4]), edges)
    assert smooth.click == pytest.approx(1, abs=0.1)
    assert smooth.jump == pytest.approx(1, abs=0.3)
    broken = np.concatenate([wave[: edges[4]], wave[edges[4] + 100 : edges[8]]])
    assert seam_quality(Waveform(broken, RATE), int(edges[4]), edges).click > 5
    other = wave.copy()
    other[edges[4] :] = 0.1 * np.random.default_rng(0).standard_normal(len(wave) - edges[4])
    assert seam_quality(Waveform(other, RATE), int(edges[4]), edges[:5]).jump > 2
    with pytest.raises(AudioError, match="50 ms on both sides"):
        seam_quality(Waveform(wave, RATE), 10, edges)


def test_a_faded_end_of_the_prompt_is_where_the_seam_is_measured(prompt):
    t = np.arange(4 * RATE) / RATE
    low, high = (Waveform((0.3 * np.sin(2 * np.pi * f * t + 1)).astype(np.float32), RATE) for f in (110.3, 190.7))
    faded = low.samples.copy()
    n = RATE // 33
    wave = np.arange(-n, 0) / RATE
    fade = np.linspace(0, 1, n, dtype=np.float32)[:, None]
    entering = (0.3 * np.sin(2 * np.pi * 190.7 * wave + 1)).astype(np.float32)[:, None]
    faded[-n:] = (1 - fade) * faded[-n:] + fade * entering
    hard = continuation.score_continuation(low, high, BPM, 8, 8)
    soft = continuation.score_continuation(low, high, BPM, 8, 8, played=Waveform(faded, RATE))
    assert hard.seam_click > 5
    assert soft.seam_click < 2  # the higher tone bends three times as much by itself
