"""How far an estimate is from its reference, sample aligned: spectra, waveform, loudness.

Every function takes two float arrays (n_samples,) or (n_samples, n_channels) of one shape and a rate in Hz,
and raises AudioError where they differ in shape, are empty or not finite. Channels are measured alone and
averaged.
"""

import warnings

import numpy as np

from melformer.errors import AudioError
from melformer.evaluate.metrics.spectra import decibels, magnitudes, mel_filters, stft_blocks

MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
STFT_SCALES = (2048, 512)
CLAMP = 1e-5
SILENCE_LUFS = -70.0  # the absolute gate of ITU-R BS.1770: below it nothing counts as sound


def channels_of(reference: np.ndarray, estimate: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Check two signals and split them into pairs of channels, float32 (n_samples,) each."""
    pair = [np.asarray(x, dtype=np.float32) for x in (reference, estimate)]
    if pair[0].shape != pair[1].shape or pair[0].ndim not in (1, 2) or pair[0].size == 0:
        raise AudioError(
            f"reference and estimate must be equal, non-empty shapes, got {pair[0].shape} and "
            f"{pair[1].shape}: bring them to one rate, length and channel count first"
        )
    if not all(np.isfinite(x).all() for x in pair):
        raise AudioError("the signals must be finite, got NaN or infinity: check what wrote them")
    columns = [x.reshape(len(x), -1) for x in pair]
    return list(zip(columns[0].T, columns[1].T, strict=True))


def mel_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """DAC's multi-scale mel distance: 0 is perfect, 0.93 is DAC at 8 kbps, 1.39 at 1.78 kbps.

    The sum over seven scales (window 32, 64 … 2048 samples; 5, 10 … 320 mels from 0 Hz to half the rate) of
    the mean absolute difference of log10(max(mel, 1e-5)). Periodic Hann window, hop a quarter of it, frames
    centred with reflected edges, magnitudes (power 1), filters on Slaney's scale with Slaney's norm, no term
    in linear magnitude. Defined at 44.1 kHz. Source: Kumar et al. 2023 (arXiv 2306.06546), section 3.5, and
    descript-audio-codec: `MelSpectrogramLoss` in dac/nn/loss.py with the values of conf/base.yml (pow 1.0,
    mag_weight 0.0). Its scripts/evaluate.py run without that configuration falls back to other values; those
    are not the paper's. DAC's test clips are first brought to −16 LUFS, which `compare.standard_gain`
    does.
    """
    per_channel = [
        sum(_mel_scale(a, b, sample_rate, n_fft, n_mels) for n_fft, n_mels in MEL_SCALES)
        for a, b in channels_of(reference, estimate)
    ]
    return float(np.mean(per_channel))


def _mel_scale(a: np.ndarray, b: np.ndarray, sample_rate: int, n_fft: int, n_mels: int) -> float:
    """Mean |Δ log10 mel| at one window."""
    filters = mel_filters(sample_rate, n_fft, n_mels).T
    total, count = 0.0, 0
    for x, y in zip(stft_blocks(a, n_fft, n_fft // 4), stft_blocks(b, n_fft, n_fft // 4), strict=True):
        logs = [np.log10(np.maximum(np.abs(z) @ filters, CLAMP)) for z in (x, y)]
        total += float(np.abs(logs[0] - logs[1]).sum(dtype=np.float64))
        count += logs[0].size
    return total / count


def stft_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """DAC's multi-scale STFT distance: 0 is perfect, 1.60 is DAC at 8 kbps, 1.95 at 1.78 kbps.

    The sum over windows 2048 and 512 of mean |Δ log10(max(|X|, 1e-5)²)| + mean |Δ |X||, hop a quarter of the
    window, spectra as in `mel_distance`. Source: `MultiScaleSTFTLoss` in dac/nn/loss.py with conf/base.yml
    (pow 2.0, both weights 1.0), after Engel et al. 2020. `sample_rate` is not used: the windows are in
    samples, meant for 44.1 kHz.
    """
    del sample_rate
    return float(
        np.mean([sum(_stft_scale(a, b, n_fft) for n_fft in STFT_SCALES) for a, b in channels_of(reference, estimate)])
    )


def _stft_scale(a: np.ndarray, b: np.ndarray, n_fft: int) -> float:
    total, count = 0.0, 0
    for x, y in zip(stft_blocks(a, n_fft, n_fft // 4), stft_blocks(b, n_fft, n_fft // 4), strict=True):
        sizes = [np.abs(z) for z in (x, y)]
        logs = [2.0 * np.log10(np.maximum(size, CLAMP)) for size in sizes]
        total += float(np.abs(logs[0] - logs[1]).sum(dtype=np.float64))
        total += float(np.abs(sizes[0] - sizes[1]).sum(dtype=np.float64))
        count += sizes[0].size
    return total / count


def log_spectral_distance(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, limit_hz: float = 16_000.0
) -> float:
    """Log-spectral distance in dB to `limit_hz`: mean over frames of the RMS over bins of the difference.

    Window 2048, hop 512. Levels are held above 70 dB under the reference's loudest bin: with a fixed −100 dB
    a codec that cuts off inaudible treble (MP3 at 32 kbps: 48 dB) scores worse than white noise (32 dB).
    After Gray and Markel 1976.
    """
    top = int(np.searchsorted(np.fft.rfftfreq(2048, 1.0 / sample_rate), limit_hz, side="right"))
    values = []
    for a, b in channels_of(reference, estimate):
        sizes = [magnitudes(x, 2048, 512)[:, :top] for x in (a, b)]
        floor = max(float(sizes[0].max()) * 10.0 ** (-70.0 / 20.0), CLAMP)
        difference = decibels(sizes[0], floor) - decibels(sizes[1], floor)
        values.append(np.sqrt(np.square(difference).mean(axis=1)).mean())
    return float(np.mean(values))


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, higher is better (Le Roux et al. 2019).

    Means are removed and channels joined to one vector, as DAC does; bounded to ±80 dB by its 1e-8.
    A silent reference against a silent estimate counts as perfect (80 dB).
    """
    pairs = channels_of(reference, estimate)
    a, b = (np.concatenate([pair[i] for pair in pairs]).astype(np.float64) for i in (0, 1))
    a, b = a - a.mean(), b - b.mean()
    target = (a @ b + 1e-8) / (a @ a + 1e-8) * a
    signal, noise = float(target @ target), float(np.square(b - target).sum())
    return 80.0 if noise == 0.0 else float(np.clip(10.0 * np.log10(signal / noise + 1e-8), -80.0, 80.0))


def loudness(samples: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4), −70 for silence and for clips under 0.4 s without
    signal.

    A clip under the standard's block of 0.4 s is repeated to fill one, since a beat at 240 BPM has 0.25 s.
    """
    import pyloudnorm  # imports scipy.signal and more: only where it is used

    samples = np.asarray(samples, dtype=np.float64).reshape(len(samples), -1)[:, :5]
    block = int(np.ceil(0.4 * sample_rate))
    if len(samples) < block:
        samples = np.tile(samples, (-(-block // len(samples)), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # log10 of zero on silence; the floor below answers it
        with np.errstate(all="ignore"):
            value = pyloudnorm.Meter(sample_rate).integrated_loudness(samples)
    return float(max(SILENCE_LUFS, value)) if np.isfinite(value) else SILENCE_LUFS


def loudness_error(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Absolute difference in loudness, in LU; silence counts as −70 LUFS."""
    channels_of(reference, estimate)
    return abs(loudness(estimate, sample_rate) - loudness(reference, sample_rate))
