"""What codes tell of a sound before it is heard."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.codec.codec import Codec


@dataclass(frozen=True)
class Ear:
    """Reads codes of a codec.

    `book` is the codebook that tells levels best, `silent` its codes of a beat without sound, int64 (n,), each once.
    """

    codec: Codec
    book: int
    silent: np.ndarray

    @classmethod
    def of(cls, codec: Codec) -> "Ear":
        """Levels are told by the codebook of levels, or else by the first."""
        beat = torch.zeros(1, codec.decoder.stft.samples_per_beat)
        book = 0 if codec.quantizer.level is None else codec.quantizer.n_learned
        return cls(codec, book, np.unique(codec.encode(beat)[0, :, book].numpy()))

    @torch.inference_mode()
    def colours(self, codes: Tensor) -> np.ndarray:
        """Mean log10 levels of the bands of beats, int64 (N, F, n_codebooks) → float32 (N, n_bands).

        A codec without a scorer of sources tells none: n_bands is 1, and every beat has the same.
        """
        scorer = self.codec.scorer
        if scorer is None:
            return np.zeros((len(codes), 1), np.float32)
        return scorer.read(self.codec.quantizer.colours(codes)).mean(dim=1).numpy()
