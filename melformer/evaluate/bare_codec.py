"""The codec alone: from a whole model, or one that is still in training."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from melformer.audio.grid import fold_bpm
from melformer.audio.resample import resample_span
from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.errors import CheckpointError


class BareCodec:
    """Encodes and reconstructs loops by the codes alone.

    The whole model's `reconstruct` also brings the decoder's sound to the prompt's level in each band, which
    is no part of the codes. `n_codebooks` keeps only the first ones.
    """

    def __init__(self, codec: Codec, n_codebooks: int | None = None) -> None:
        self.codec, self.config, self.n_codebooks = codec, codec.config, n_codebooks

    @classmethod
    def from_folder(cls, folder: str | Path, n_codebooks: int | None = None) -> "BareCodec":
        """`config.json` and `codec.safetensors` of a codec in training.

        Errors: CheckpointError, ConfigError for a folder that holds no such codec.
        """
        folder = Path(folder)
        codec = Codec(Config.load(folder / "config.json").codec).eval()
        try:
            tensors = load_file(folder / "codec.safetensors")
            codec.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise CheckpointError(f"{folder} holds no codec that fits its config.json: {error}") from error
        return cls(codec, n_codebooks)

    def encode(self, waveform: Waveform, bpm: float) -> np.ndarray:
        """Codes int64 (model beats, frames, n_codebooks) of a loop's mono mix."""
        step, n_beats = self._grid(waveform, bpm, self.config.samples_per_beat)
        samples = resample_span(waveform.mono().samples, step, 0, n_beats * self.config.samples_per_beat)
        beats = torch.from_numpy(samples.reshape(n_beats, -1))
        return self.codec.encode(beats)[..., : self.n_codebooks].numpy()

    def reconstruct(self, waveform: Waveform, bpm: float) -> Waveform:
        """The loop encoded and decoded, mono, at its own rate and length."""
        decoded = self.codec.decode_loop(torch.from_numpy(self.encode(waveform, bpm))).numpy()[:, None]
        step, _ = self._grid(waveform, bpm, self.config.work_samples_per_beat)
        return Waveform(resample_span(decoded, 1 / step, 0, waveform.n_samples), waveform.sample_rate)

    @staticmethod
    def _grid(waveform: Waveform, bpm: float, samples_per_beat: int) -> tuple[Fraction, int]:
        """Source samples per grid sample, and how many model beats cover the loop."""
        beat = 60 * waveform.sample_rate / Fraction(fold_bpm(bpm)[0]).limit_denominator(10_000)
        return beat / samples_per_beat, max(1, math.ceil(waveform.n_samples / beat - Fraction(1, 100)))
