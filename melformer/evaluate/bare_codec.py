"""The codec alone: from a whole model, or one that is still in training."""

from pathlib import Path

import numpy as np

from melformer.audio.grid import BeatGrid, fit_to_grid
from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.hub.codec_folder import read_codec_folder


class BareCodec:
    """Encodes loops as prompts are encoded, and reconstructs them by the codes alone.

    The whole model's `reconstruct` also brings the decoder's sound to the prompt's level in each band, which
    is no part of the codes. `n_codebooks` keeps only the first ones.
    """

    def __init__(self, codec: Codec, n_codebooks: int | None = None) -> None:
        self.codec, self.config, self.n_codebooks = codec, codec.config, n_codebooks

    @classmethod
    def from_folder(cls, folder: str | Path, n_codebooks: int | None = None) -> "BareCodec":
        """A codec in training. Errors: CheckpointError, ConfigError for a folder that holds none."""
        return cls(read_codec_folder(Path(folder)).codec, n_codebooks)

    def encode(self, waveform: Waveform, bpm: float) -> np.ndarray:
        """Codes int64 (model beats, frames, n_codebooks) of a loop's mono mix."""
        return self.codec.encode_loop(waveform, bpm)[..., : self.n_codebooks]

    def reconstruct(self, waveform: Waveform, bpm: float) -> Waveform:
        """A loop's whole beats encoded and decoded, mono, at its own rate."""
        grid, fit = BeatGrid(bpm, waveform.sample_rate), fit_to_grid(waveform, bpm)
        decoded = self.codec.decode_on(grid, fit.n_beats, self.encode(fit.waveform, bpm))
        return Waveform(decoded, waveform.sample_rate)
