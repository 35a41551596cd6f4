"""The one validated audio type."""

import operator
from dataclasses import dataclass

import numpy as np

from melformer.errors import AudioError, CheckpointError

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000
MAX_CHANNELS = 8
MAX_VALUES = 2**27  # samples times channels: half a gigabyte of float32
MAX_LEVEL = 65_536.0  # full scale is 1; beyond this, squares and spectra lose their meaning in float32


def check_sample_rate(sample_rate: int) -> int:
    """Give the rate as an int, in Hz. Errors: AudioError outside 8,000..192,000."""
    try:
        rate = operator.index(sample_rate)
    except TypeError:
        raise AudioError(f"a sample rate is a whole number of Hz, got {sample_rate!r}") from None
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"the sample rate {rate:,} Hz is outside {MIN_SAMPLE_RATE:,}..{MAX_SAMPLE_RATE:,} Hz: "
            "export the loop at 44,100 or 48,000 Hz"
        )
    return rate


@dataclass(frozen=True, eq=False)
class Waveform:
    """Audio: float32 samples of shape (n_samples, n_channels), full scale ±1, and their rate in Hz.

    A one-dimensional array becomes one channel. Values beyond ±1 are kept.
    Errors: AudioError for an empty signal, over 8 channels, NaN or infinity, integers, or an impossible rate.
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_rate", check_sample_rate(self.sample_rate))
        object.__setattr__(self, "samples", _check_samples(self.samples))

    @property
    def n_samples(self) -> int:
        return int(self.samples.shape[0])

    @property
    def n_channels(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate

    def mono(self) -> "Waveform":
        """The mean of the channels, as one channel."""
        if self.n_channels == 1:
            return self
        return Waveform(self.samples.mean(axis=1, keepdims=True, dtype=np.float32), self.sample_rate)

    def slice(self, start: int, stop: int) -> "Waveform":
        """Samples `start` to `stop` (0 ≤ start < stop ≤ n_samples), sharing memory. Errors: AudioError."""
        if not 0 <= start < stop <= self.n_samples:
            raise AudioError(f"cannot cut samples {start}..{stop} out of {self.n_samples}")
        return Waveform(self.samples[start:stop], self.sample_rate)


def model_waveform(samples: np.ndarray, sample_rate: int) -> Waveform:
    """What a model made, as a waveform: where it cannot be one, the weights are at fault, not the user's file.

    Errors: CheckpointError.
    """
    try:
        return Waveform(samples, sample_rate)
    except AudioError as error:
        raise CheckpointError(
            f"The checkpoint's weights make no sound that can be played ({error}): it is damaged. Use another one."
        ) from error


def _check_samples(samples: np.ndarray) -> np.ndarray:
    array = np.asarray(samples)
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"samples must be floating point with full scale 1, got {array.dtype}")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise AudioError(f"samples must have the shape (n_samples, n_channels), got {array.shape}")
    n_samples, n_channels = array.shape
    if n_samples < 1:
        raise AudioError("the audio is empty: it holds no samples")
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise AudioError(f"{n_channels} channels; at most {MAX_CHANNELS} are possible: mix down to stereo")
    # One pass each over min and max needs no temporary array, and NaN travels through both.
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AudioError("the audio holds NaN or infinite samples: export it again")
    if max(-low, high) > MAX_LEVEL:
        raise AudioError(f"the audio peaks at {max(-low, high):.3g} where full scale is 1: lower its level")
    return array.astype(np.float32, copy=False)
