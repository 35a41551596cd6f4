"""A growing recording on disk, so that ten minutes of playing cost no memory."""

from pathlib import Path

import numpy as np

from melformer.audio.io import Waveform


class Tape:
    """Float32 samples appended beat by beat to a raw file; any stretch can be read back exactly.

    Several takes may share one tape: a take remembers how much of it is its own.
    """

    def __init__(self, path: Path, n_channels: int, sample_rate: int) -> None:
        self.path = path
        self.n_channels = n_channels
        self.sample_rate = sample_rate
        self.n_samples = 0
        self.path.touch()

    @property
    def n_bytes(self) -> int:
        return 4 * self.n_channels * self.n_samples

    def append(self, samples: np.ndarray) -> None:
        """Add `samples` (n, n_channels) at the end."""
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(samples, dtype="<f4").tobytes())
        self.n_samples += len(samples)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples [start, stop) as float32 (n, n_channels)."""
        stop = self.n_samples if stop is None else stop
        width = 4 * self.n_channels
        with self.path.open("rb") as file:
            file.seek(start * width)
            data = file.read((stop - start) * width)
        return np.frombuffer(data, dtype="<f4").reshape(-1, self.n_channels).astype(np.float32)

    def waveform(self, start: int = 0, stop: int | None = None) -> Waveform:
        return Waveform(self.read(start, stop), self.sample_rate)

    def fork(self, path: Path, n_samples: int) -> "Tape":
        """A new tape that begins with the first `n_samples` of this one."""
        other = Tape(path, self.n_channels, self.sample_rate)
        other.append(self.read(0, n_samples))
        return other
