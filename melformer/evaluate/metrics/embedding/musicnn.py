"""An independent listener: MusiCNN, a tagger trained on the Million Song Dataset by others (Pons and Serra 2019).

Its weights (ISC licence) are never shipped with Melformer. They are read out of the wheel on PyPI, a zip file that
holds a TensorFlow checkpoint, without TensorFlow:

    pip download musicnn==0.1.0 --no-deps -d ~/.cache/melformer

`weights_file()` finds it there, or where MELFORMER_MUSICNN points (nowhere: it is not used).
"""

import os
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import RequestError
from melformer.evaluate.metrics.embedding.tensorflow_checkpoint import read_tensors

CACHE = Path.home() / ".cache" / "melformer"
WHEEL = "musicnn-0.1.0-py3-none-any.whl"
CHECKPOINT = "musicnn/MSD_musicnn/"
SAMPLE_RATE = 16_000
N_FFT, HOP_LENGTH, N_MELS = 512, 256, 96
PATCH_FRAMES, PATCH_HOP = 187, 93  # 3 s every 1.5 s
DIM = 200
EPSILON = 1e-3  # tf.layers.batch_normalization's
TIMBRE_LAYERS = 2  # the first two of the front end are high and short, the other three one band wide and long
TEMPORAL_FRAMES = (128, 64, 32)


def weights_file() -> Path | None:
    """The wheel that holds the weights, None where it has not been downloaded."""
    path = Path(os.environ.get("MELFORMER_MUSICNN", CACHE / WHEEL))
    return path if path.is_file() else None


class MusiCNN:
    """The network up to its penultimate layer."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        """`tensors` by TensorFlow's names ("model/conv2d/kernel"). Errors: RequestError where one is missing."""
        self.weights = {name.removeprefix("model/"): torch.from_numpy(value.copy()) for name, value in tensors.items()}
        needed = [f"conv2d{_suffix(i)}/kernel" for i in range(8)] + ["dense/kernel"]
        if missing := [name for name in needed if name not in self.weights]:
            raise RequestError(f"these are not MusiCNN's weights: {', '.join(missing)} missing")

    @classmethod
    def from_wheel(cls, path: str | Path) -> "MusiCNN":
        """Read the weights out of the wheel. Errors: RequestError for another file."""
        try:
            with zipfile.ZipFile(path) as wheel:
                index, data = (wheel.read(CHECKPOINT + name) for name in (".index", ".data-00000-of-00001"))
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise RequestError(f"{path} is not the wheel {WHEEL} ({error})") from None
        return cls(read_tensors(index, data))

    def embed(self, waveform: Waveform) -> np.ndarray:
        """Float32 (patches, 200), a patch of 3 s every 1.5 s; a shorter clip is played round until it fills one."""
        samples = resample(waveform.mono(), SAMPLE_RATE).samples[:, 0]
        needed = PATCH_FRAMES * HOP_LENGTH
        if len(samples) < needed:
            samples = np.tile(samples, -(-needed // max(1, len(samples))))
        return self(torch.from_numpy(patches(samples))).numpy()

    @torch.inference_mode()
    def __call__(self, mel: Tensor) -> Tensor:
        """Log mel (B, 187, 96) → penultimate activations (B, 200)."""
        mel = self._normalised(mel[:, None], 0)  # (B, 1, frames, mels)
        front = torch.cat([self._front(mel, i) for i in range(2 + len(TEMPORAL_FRAMES))], dim=1)  # (B, C, frames)
        layers = [front]
        for i in (5, 6, 7):
            made = self._middle(layers[-1], i)
            layers.append(made + layers[-1] if i > 5 else made)
        whole = torch.cat(layers, dim=1)  # (B, 753, frames)
        pooled = torch.stack([whole.amax(dim=2), whole.mean(dim=2)], dim=2).flatten(1)  # max and mean interleaved
        hidden = self._normalised(pooled, 9) @ self.weights["dense/kernel"] + self.weights["dense/bias"]
        return self._normalised(F.relu(hidden), 10)

    def _front(self, mel: Tensor, i: int) -> Tensor:
        """One branch of the front end, its maximum over frequency: (B, C, frames)."""
        n_frames = 7 if i < TIMBRE_LAYERS else TEMPORAL_FRAMES[i - TIMBRE_LAYERS]
        before = (n_frames - 1) // 2
        return self._convolved(F.pad(mel, (0, 0, before, n_frames - 1 - before)), i).amax(dim=3)

    def _middle(self, channels: Tensor, i: int) -> Tensor:
        """(B, C, frames) → (B, 64, frames): seven frames of all channels."""
        image = F.pad(channels.transpose(1, 2)[:, None], (0, 0, 3, 3))  # (B, 1, frames + 6, C)
        return self._convolved(image, i).squeeze(3)

    def _convolved(self, image: Tensor, i: int) -> Tensor:
        name = f"conv2d{_suffix(i)}"
        kernel = self.weights[f"{name}/kernel"].permute(3, 2, 0, 1)  # TensorFlow: (height, width, in, out)
        return self._normalised(F.relu(F.conv2d(image, kernel, self.weights[f"{name}/bias"])), i + 1)

    def _normalised(self, x: Tensor, i: int) -> Tensor:
        """Batch normalisation over dimension 1, as trained."""
        name = f"batch_normalization{_suffix(i)}"
        shape = [1, -1] + [1] * (x.dim() - 2)
        parts = ("moving_mean", "moving_variance", "gamma", "beta")
        mean, variance, gamma, beta = (self.weights[f"{name}/{part}"].reshape(shape) for part in parts)
        return (x - mean) * torch.rsqrt(variance + EPSILON) * gamma + beta


def _suffix(i: int) -> str:
    return f"_{i}" if i else ""


def patches(samples: np.ndarray) -> np.ndarray:
    """One channel at 16 kHz → float32 (patches, 187, 96), log10(10,000 · mel power + 1) as MusiCNN was trained."""
    import librosa  # its mel spectrogram defines the network's input

    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float32), sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
    )
    level = np.log10(10_000.0 * mel.T.astype(np.float16).astype(np.float32) + 1.0)
    starts = range(0, len(level) - PATCH_FRAMES + 1, PATCH_HOP)
    return np.stack([level[start : start + PATCH_FRAMES] for start in starts])
