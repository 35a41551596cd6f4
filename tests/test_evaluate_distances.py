"""Each distance on perfect, golden, invalid and empty input."""

import warnings

import numpy as np
import pytest

from melformer.errors import AudioError
from melformer.evaluate.metrics import distances, spectra

RATE = 44_100
DISTANCES = [
    distances.mel_distance,
    distances.stft_distance,
    distances.log_spectral_distance,
    distances.loudness_error,
]


def music(seconds: float = 2.0) -> np.ndarray:
    """A chord with a click every half second, float32 (n_samples,)."""
    t = np.arange(round(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * f * k * t) / k for f in (220.0, 277.2, 329.6) for k in (1, 2, 3))
    sound = 0.05 * np.asarray(chord)
    rng = np.random.default_rng(1)
    for start in range(0, len(t) - 4000, RATE // 2):
        sound[start : start + 4000] += 0.3 * rng.standard_normal(4000) * np.exp(-np.arange(4000) / 800)
    return sound.astype(np.float32)


def noise(seconds: float = 2.0, level: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * level).astype(np.float32)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_perfect_copy_has_no_distance_and_channels_are_averaged(distance):
    clip = music()
    assert distance(clip, clip, RATE) == 0.0
    stereo, worse = np.stack([clip, clip], 1), np.stack([clip, noise()], 1)
    if distance is not distances.loudness_error:  # loudness sums channels, as the standard says
        assert distance(stereo, worse, RATE) == pytest.approx(distance(clip, noise(), RATE) / 2, rel=1e-5)


@pytest.mark.parametrize("distance", DISTANCES)
def test_more_noise_is_further_away(distance):
    clip = music()
    values = [distance(clip, clip + level * noise(), RATE) for level in (0.01, 0.1, 1.0, 10.0)]
    assert values == sorted(values)
    assert values[0] < values[-1] / 3


@pytest.mark.parametrize("distance", [*DISTANCES, lambda a, b, rate: distances.si_sdr(a, b)])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros(0, np.float32), np.zeros(0, np.float32)),
        (np.zeros(5000, np.float32), np.zeros(5001, np.float32)),
        (np.zeros((9, 9, 9), np.float32), np.zeros((9, 9, 9), np.float32)),
        (np.full(5000, np.nan, np.float32), np.zeros(5000, np.float32)),
        (np.zeros(5000, np.float32), np.full(5000, np.inf, np.float32)),
    ],
)
def test_impossible_pairs_are_named_errors(distance, a, b):
    with pytest.raises(AudioError):
        distance(a, b, RATE)


def test_too_short_for_a_window_is_a_named_error():
    with pytest.raises(AudioError, match="longer than 1024"):
        distances.mel_distance(np.zeros(1000, np.float32), np.zeros(1000, np.float32), RATE)


def test_mel_filters_equal_librosa():
    librosa = pytest.importorskip("librosa")
    for n_fft, n_mels in distances.MEL_SCALES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # empty filters, which DAC has too
            theirs = librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=n_mels)
        np.testing.assert_allclose(spectra.mel_filters(RATE, n_fft, n_mels), theirs, atol=1e-7)


def test_mel_and_stft_distance_equal_a_direct_reading_of_dacs_definition():
    """The formula once more through torch.stft: another transform, another filter bank."""
    torch, librosa = pytest.importorskip("torch"), pytest.importorskip("librosa")
    a, b = music(0.5), noise(0.5)

    def spectrum(x, n_fft):
        window = torch.hann_window(n_fft)
        return torch.stft(torch.from_numpy(x), n_fft, n_fft // 4, window=window, return_complex=True).abs()

    mel = 0.0
    for n_fft, n_mels in distances.MEL_SCALES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            filters = torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=n_mels))
        logs = [(filters @ spectrum(x, n_fft)).clamp(min=1e-5).log10() for x in (a, b)]
        mel += float((logs[0] - logs[1]).abs().mean())
    assert distances.mel_distance(a, b, RATE) == pytest.approx(mel, rel=1e-4)  # float32 sums in another order
    stft = 0.0
    for n_fft in (2048, 512):
        x, y = spectrum(a, n_fft), spectrum(b, n_fft)
        stft += float((x.clamp(min=1e-5).pow(2).log10() - y.clamp(min=1e-5).pow(2).log10()).abs().mean())
        stft += float((x - y).abs().mean())
    assert distances.stft_distance(a, b, RATE) == pytest.approx(stft, rel=1e-4)


def test_halving_the_level_is_a_known_distance():
    clip = noise()
    # 2% less than 0.301: a few of the narrowest filters hold no bin and count as equal, in DAC too
    assert distances.mel_distance(clip, clip / 2, RATE) == pytest.approx(7 * np.log10(2), rel=0.03)
    assert distances.log_spectral_distance(clip, clip / 2, RATE) == pytest.approx(20 * np.log10(2), rel=1e-2)
    assert distances.loudness_error(clip, clip / 2, RATE) == pytest.approx(20 * np.log10(2), rel=1e-4)


def test_si_sdr_ignores_gain_and_measures_noise():
    clip, hiss = music(), noise()
    hiss *= clip.std() / hiss.std() / 10  # 20 dB under
    assert distances.si_sdr(clip, clip / 3) == pytest.approx(80, abs=0.5)  # DAC's 1e-8 bounds it
    assert distances.si_sdr(clip, clip + hiss) == pytest.approx(20, abs=0.2)
    assert distances.si_sdr(clip, noise()) < -20
    assert distances.si_sdr(np.zeros(100), np.zeros(100)) == 80


def test_loudness_of_the_standards_tone_of_silence_and_of_a_very_short_clip():
    t = np.arange(3 * RATE) / RATE
    tone = np.sin(2 * np.pi * 997 * t)  # full scale at 997 Hz is −3.01 LUFS by BS.1770
    assert distances.loudness(tone, RATE) == pytest.approx(-3.01, abs=0.05)
    assert distances.loudness(np.zeros(RATE), RATE) == -70
    assert distances.loudness(tone[: RATE // 4], RATE) == pytest.approx(-3.01, abs=0.2)


def test_long_signals_are_measured_in_blocks_with_the_same_result(monkeypatch):
    a, b = music(), noise()
    whole = distances.mel_distance(a, b, RATE)
    monkeypatch.setattr(spectra, "_BLOCK_SAMPLES", 10_000)
    assert distances.mel_distance(a, b, RATE) == pytest.approx(whole, rel=1e-6)
