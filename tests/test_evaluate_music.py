"""Onsets, tone and codes: perfect, golden, invalid and empty input."""

import numpy as np
import pytest

from melformer.errors import AudioError, RequestError
from melformer.evaluate.metrics import codebook_use, onset_agreement, tonality

RATE = 44_100


def clicks(times, seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    """Short noise bursts at given seconds, float32 (n_samples,)."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE), np.float32)
    for time in times:
        start = min(round(time * RATE), len(sound))
        burst = 0.3 * rng.standard_normal(4000) * np.exp(-np.arange(4000) / 1000)
        sound[start : start + 4000] += burst[: len(sound) - start].astype(np.float32)
    return sound


def tones(*frequencies: float, seconds: float = 3.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * f * k * t) / k for f in frequencies for k in (1, 2, 3, 4))
    return (0.1 * np.asarray(sound)).astype(np.float32)


def noise(seconds: float = 3.0) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)


def test_onsets_are_found_where_they_are():
    times = np.arange(0.3, 3.8, 0.3417)
    for gain in (1.0, 0.01):  # gain does not matter
        found = onset_agreement.onset_times(gain * clicks(times), RATE)
        assert len(found) == len(times)
        assert np.abs(found - times).max() < 0.004  # a frame is 2.9 ms
    # The same samples, called 48 kHz.
    at_48k = onset_agreement.onset_times(clicks(times * 48_000 / RATE, seconds=5.0), 48_000)
    assert np.abs(at_48k - times).max() < 0.004


def test_noise_silence_and_a_steady_tone_have_no_onsets():
    for sound in (noise(), np.zeros(RATE, np.float32), tones(220.0), 1e-6 * noise()):
        assert len(onset_agreement.onset_times(sound, RATE)) == 0


def test_onset_f1():
    times = np.arange(0.3, 3.8, 0.25)
    clip = clicks(times)
    assert onset_agreement.onset_f1(clip, clip, RATE) == 1.0
    assert onset_agreement.onset_f1(clip, clicks(times + 0.015), RATE) == 1.0
    assert onset_agreement.onset_f1(clip, clicks(times + 0.05), RATE) == 0.0
    assert onset_agreement.onset_f1(clip, clicks(times[::2]), RATE) == pytest.approx(2 / 3, abs=0.03)
    assert onset_agreement.onset_f1(clip, np.zeros_like(clip), RATE) == 0.0
    assert onset_agreement.onset_f1(np.zeros_like(clip), np.zeros_like(clip), RATE) == 1.0


def test_matching_is_one_to_one_and_needs_sorted_times():
    hits = onset_agreement.matches(np.array([1.0, 1.02]), np.array([1.01]))
    assert hits == 1
    assert onset_agreement.matches(np.array([]), np.array([1.0])) == 0
    assert onset_agreement.matches(np.array([1.0, 1.03, 1.06]), np.array([1.02, 1.05, 1.08])) == 3
    for bad in (np.array([2.0, 1.0]), np.array([np.nan]), np.zeros((2, 2))):
        with pytest.raises(AudioError, match="ascending"):
            onset_agreement.matches(bad, np.array([1.0]))


@pytest.mark.parametrize("hz", [82.4, 110.0, 220.0, 440.0, 1000.0])
def test_partials_know_the_pitch_of_a_tone(hz):
    t = np.arange(3 * RATE) / RATE
    found = tonality.partials((0.2 * np.sin(2 * np.pi * hz * t)).astype(np.float32), RATE)
    inner = (found.frame > 2) & (found.frame < found.n_frames - 3)  # reflected edges bend the phase
    assert np.abs(1200 * np.log2(found.hz[inner] / hz)).max() < 2


def test_pitch_error_is_the_detuning_in_cents():
    assert tonality.pitch_error_cents(tones(220.0), tones(220.0), RATE) == 0
    for cents in (5, 20):
        assert tonality.pitch_error_cents(tones(220.0), tones(220.0 * 2 ** (cents / 1200)), RATE) == pytest.approx(
            cents, abs=1
        )
    assert tonality.pitch_error_cents(tones(220.0), noise(), RATE) == 50
    assert np.isnan(tonality.pitch_error_cents(noise(), tones(220.0), RATE))  # drums have no pitch to keep


def test_chroma_names_the_notes_and_noise_is_far_from_music():
    chord = tones(261.63, 329.63, 392.0)
    strongest = np.argsort(tonality.chromagram(chord, RATE).mean(axis=0))[-3:]
    assert set(strongest) == {0, 4, 7}  # C, E, G
    assert tonality.chroma_cosine(chord, chord, RATE) == pytest.approx(1)
    assert tonality.chroma_cosine(chord, tones(277.18, 349.23, 415.3), RATE) < 0.3  # a semitone up
    assert tonality.chroma_cosine(chord, noise(), RATE) < 0.5
    assert np.isnan(tonality.chroma_cosine(np.zeros(RATE), chord[:RATE], RATE))
    with pytest.raises(AudioError, match="equal, non-empty shapes"):
        tonality.chroma_cosine(chord, chord[:-1], RATE)


def test_tonal_share_separates_chords_from_drums():
    assert tonality.tonal_share(tones(220.0), RATE) > 0.9
    assert tonality.tonal_share(noise(), RATE) < 0.05
    assert tonality.tonal_share(np.zeros(RATE), RATE) == 0


def test_key_of_scales_and_its_score():
    major = np.array([3, 0, 1.5, 0, 2, 1, 0, 2.5, 0, 1.5, 0, 1.0])
    assert tonality.key_of(major) == (0, "major")
    assert tonality.key_of(np.roll(major, 5)) == (5, "major")
    assert tonality.key_of(np.zeros(12)) is None
    score = tonality.key_agreement
    assert [score((0, "major"), other) for other in ((0, "major"), (7, "major"), (9, "minor"), (0, "minor"))] == [
        1.0,
        0.5,
        0.3,
        0.2,
    ]
    assert score((9, "minor"), (0, "major")) == 0.3
    assert score((0, "major"), (6, "major")) == 0.0 == score((0, "major"), None)
    assert np.isnan(score(None, (0, "major")))


def test_harmonicity_follows_the_noise():
    clean, hiss = tones(220.0), noise()
    hiss *= clean.std() / hiss.std()
    ratios = [tonality.harmonicity_db(clean + g * hiss, RATE).mean() for g in (0.0, 0.1, 1.0)]
    assert ratios[0] == pytest.approx(25, abs=0.5)  # the cap
    assert ratios[1] == pytest.approx(20, abs=1.5)
    assert ratios[2] == pytest.approx(0, abs=1.5)
    assert tonality.harmonicity_error_db(clean, clean, RATE) == 0
    assert tonality.harmonicity_error_db(clean, clean + 0.1 * hiss, RATE) < -3
    assert np.isnan(tonality.harmonicity_error_db(hiss, clean, RATE))


def test_codebook_use_of_even_single_and_skewed_codes():
    even = np.arange(16).repeat(4).reshape(4, 16, 1)
    (use,) = codebook_use.codebook_use(even, 16)
    assert (use.used_share, use.entropy_bits, use.perplexity, use.entropy_share) == (1.0, 4.0, 16.0, 1.0)
    (single,) = codebook_use.codebook_use(np.full((4, 16, 1), 3), 16)
    assert (single.used_share, single.entropy_bits, single.perplexity) == (1 / 16, 0.0, 1.0)
    (skewed,) = codebook_use.codebook_use(np.array([0, 0, 0, 1]).reshape(1, 4, 1), 2)
    assert skewed.entropy_bits == pytest.approx(0.8113, abs=1e-4)  # −¾·log2(¾) − ¼·log2(¼)
    few = codebook_use.codebook_use(np.arange(4).reshape(1, 4, 1), 1024)[0]
    assert few.entropy_share == 1.0  # four codes cannot show more than two bits


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 4, 2), int),
        np.zeros((4, 2), int),
        np.zeros((1, 4, 2)),
        np.full((1, 4, 2), 16),
        -np.ones((1, 1, 1), int),
    ],
)
def test_impossible_codes_are_named_errors(bad):
    with pytest.raises(RequestError, match="codes must"):
        codebook_use.codebook_use(bad, 16)


def test_stability_counts_the_codes_that_survive():
    from melformer.audio.waveform import Waveform

    clip = Waveform(tones(220.0), RATE)

    def by_level(waveform):  # a codec whose second codebook hears every change of a part in a million
        beats = waveform.samples[: 4 * 32_000, 0].reshape(4, 8, 4000)
        level = np.sqrt(np.square(beats).mean(axis=2))
        return np.stack([np.zeros_like(level), level * 1e6], axis=2).astype(np.int64)

    for change, share in codebook_use.stability(by_level, clip).items():
        assert share[0] == 1.0, change
        assert share[1] < 0.5, change
