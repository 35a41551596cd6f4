"""All measures of one clip against its original, on common ground."""

from dataclasses import dataclass, fields

import numpy as np

from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics import distances, onset_agreement, tonality
from melformer.evaluate.metrics.stereo_error import stereo_error
from melformer.evaluate.metrics.visqol import visqol

SAMPLE_RATE = 44_100  # where DAC's windows, given in samples, are defined
STANDARD_LUFS = -16.0
MAX_LENGTH_ERROR_S = 0.1


@dataclass(frozen=True)
class Comparison:
    """How an estimate compares with its reference; NaN where the reference has nothing of the kind."""

    mel_distance: float  # DAC's, lower is better
    stft_distance: float  # DAC's, lower is better
    log_spectral_distance_db: float  # to 16 kHz
    si_sdr_db: float  # higher is better
    loudness_error_db: float
    onset_f1: float  # at 25 ms
    chroma_cosine: float
    pitch_error_cents: float
    harmonicity_error_db: float  # negative: noisier than the reference
    stereo_level_error_db: float  # between the channels, in bands; NaN for mono
    stereo_correlation_error: float
    visqol: float = float("nan")  # mean opinion score, where it was asked for and is installed


def compare(reference: Waveform, estimate: Waveform, with_visqol: bool = False) -> Comparison:
    """Measure an estimate of a reference, both with all their channels (a mono estimate of a stereo clip is
    doubled).

    Both are brought to 44.1 kHz, to the shorter one's length, and by one common gain to a reference of −16
    LUFS.
    Errors: AudioError when the lengths differ by more than 0.1 s or the clip is shorter than 50 ms.
    """
    a, b = aligned(reference, estimate)
    loudness_error = distances.loudness_error(a, b, SAMPLE_RATE)
    gain = standard_gain(a)
    a, b = a * gain, b * gain
    mono_a, mono_b = a.mean(axis=1), b.mean(axis=1)
    stereo = stereo_error(a, b, SAMPLE_RATE)
    return Comparison(
        mel_distance=distances.mel_distance(a, b, SAMPLE_RATE),
        stft_distance=distances.stft_distance(a, b, SAMPLE_RATE),
        log_spectral_distance_db=distances.log_spectral_distance(a, b, SAMPLE_RATE),
        si_sdr_db=distances.si_sdr(a, b),
        loudness_error_db=loudness_error,
        onset_f1=onset_agreement.onset_f1(mono_a, mono_b, SAMPLE_RATE),
        chroma_cosine=tonality.chroma_cosine(mono_a, mono_b, SAMPLE_RATE),
        pitch_error_cents=tonality.pitch_error_cents(mono_a, mono_b, SAMPLE_RATE),
        harmonicity_error_db=tonality.harmonicity_error_db(mono_a, mono_b, SAMPLE_RATE),
        stereo_level_error_db=stereo.level_db,
        stereo_correlation_error=stereo.correlation,
        visqol=visqol(Waveform(mono_a, SAMPLE_RATE), Waveform(mono_b, SAMPLE_RATE)) if with_visqol else float("nan"),
    )


def aligned(reference: Waveform, estimate: Waveform) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32 (n_samples, n_channels) at 44.1 kHz: the reference's channels, the shorter's length."""
    if abs(reference.duration_s - estimate.duration_s) > MAX_LENGTH_ERROR_S:
        raise AudioError(
            f"the estimate lasts {estimate.duration_s:.3f} s and its reference {reference.duration_s:.3f} s: "
            "compare the same passage"
        )
    a, b = (resample(x, SAMPLE_RATE).samples for x in (reference, estimate))
    n_samples = min(len(a), len(b))
    if n_samples < SAMPLE_RATE // 20:
        raise AudioError(f"{n_samples / SAMPLE_RATE * 1e3:.0f} ms are too short to compare: give 50 ms or more")
    if b.shape[1] != a.shape[1]:
        b = np.repeat(b.mean(axis=1, keepdims=True), a.shape[1], axis=1)
    return a[:n_samples], b[:n_samples]


def standard_gain(samples: np.ndarray) -> float:
    """The gain that brings samples (n_samples, n_channels) at 44.1 kHz to −16 LUFS, less where they would
    clip.

    DAC's test clips are prepared so; its log spectra stop at −100 dB, so a soft clip would score better than
    a loud one.
    """
    level = distances.loudness(samples, SAMPLE_RATE)
    if level <= distances.SILENCE_LUFS:
        return 1.0
    return float(min(10.0 ** ((STANDARD_LUFS - level) / 20.0), 1.0 / max(float(np.abs(samples).max()), 1e-9)))


def mean_of(comparisons: list[Comparison]) -> Comparison:
    """The mean of each measure, NaN left out (NaN where all are). Errors: AudioError for an empty list."""
    if not comparisons:
        raise AudioError("there is nothing to average: no clip could be measured")
    return Comparison(**{f.name: nanmean([getattr(c, f.name) for c in comparisons]) for f in fields(Comparison)})


def nanmean(values: list[float]) -> float:
    """Mean without NaN; NaN when nothing is left."""
    kept = [v for v in values if not np.isnan(v)]
    return float(np.mean(kept)) if kept else float("nan")
