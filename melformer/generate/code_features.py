"""What codes tell of a sound before it is heard."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.codec.codec import Codec
from melformer.codec.source_scorer import NOTCHES_PER_OCTAVE


@dataclass(frozen=True)
class CodeFeatures:
    """Reads codes of a codec.

    `book` is the codebook that tells levels best, `silent` its codes of a beat without sound, int64 (n,), each once.
    """

    codec: Codec
    book: int
    silent: np.ndarray

    @classmethod
    def of(cls, codec: Codec) -> "CodeFeatures":
        """Levels are told by the codebook of levels."""
        beat = torch.zeros(1, codec.decoder.stft.samples_per_beat)
        book = codec.quantizer.n_learned
        return cls(codec, book, np.unique(codec.encode(beat)[0, :, book].numpy()))

    @torch.inference_mode()
    def colours(self, codes: Tensor) -> np.ndarray:
        """Mean log10 levels of the bands of beats, int64 (N, F, n_codebooks) → float32 (N, n_bands)."""
        return self.codec.scorer.read(self.codec.quantizer.colours(codes)).mean(dim=1).numpy()

    @torch.inference_mode()
    def powers(self, codes: Tensor) -> np.ndarray:
        """Mean power that codes state, int64 (N, F, n_codebooks) → float32 (N,)."""
        quantizer = self.codec.quantizer
        return quantizer.level.powers(codes[..., quantizer.n_learned]).sum(dim=2).mean(dim=1).numpy()

    @torch.inference_mode()
    def chroma(self, codes: Tensor) -> np.ndarray:
        """How much of each pitch class the partials of beats have, int64 (N, F, n_codebooks) → float32 (N, 12)."""
        tones = self.codec.scorer.tones(codes).sum(dim=1)
        pitch = torch.arange(tones.shape[1]) // (NOTCHES_PER_OCTAVE // 12) % 12
        return torch.zeros(len(codes), 12).index_add_(1, pitch, tones).numpy()
