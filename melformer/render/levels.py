"""Decoded sound as loud as its codes say."""

import torch
from torch import Tensor

from melformer.codec.codec import Codec
from melformer.codec.encoder import amplified, register_powers

ALLOWED_DB, MOST_DB = 1.0, 12.0
"""How far the power of a model beat may be from what its codes state, and how much it is changed at most."""
MOST_USUAL_DB = 3.0
"""How far a decoder may always be from it: it seldom is by one."""
SOFT, SILENT = 1e-5, 1e-10
"""Powers that do not count: this share of the prompt's, and what cannot be heard at all."""


class LevelCorrector:
    """Holds the decoder to the levels that codes state.

    The codebook of levels states the power of every register in every latent frame. Of codes that were played the
    decoder makes just that, in a whole beat within a decibel; of composed ones, which do not always agree with each
    other, it has made 5 dB more (docs/decisions/).
    """

    def __init__(self, codec: Codec, spectra: Tensor, codes: Tensor) -> None:
        """What the decoder makes of a prompt, spectra (1, frames, n_bins), and the codes (n, frames, n_codebooks)."""
        self.codec, self.n_late = codec, codec.decoder.lookahead
        powers = [part[len(codes) > 1 :].mean(dim=0) for part in self._powers(spectra, codes, None)]
        self.floor = SOFT * powers[1] + SILENT
        self.usual = self._decibels(*powers).clamp(-MOST_USUAL_DB, MOST_USUAL_DB)

    def held(self, spectra: Tensor, codes: Tensor, before: Tensor | None) -> Tensor:
        """The decoder's spectra (1, frames, n_bins) of whole model beats, int64 (n, frames, n_codebooks), each held to
        its levels; `before` are the beats that the decoder heard before them, if any."""
        excess = self._decibels(*self._powers(spectra, codes, before)) - self.usual
        decibels = (excess - excess.clamp(-ALLOWED_DB, ALLOWED_DB)).clamp(-MOST_DB, MOST_DB)
        gains = (10.0 ** (-decibels / 20.0)).repeat_interleave(spectra.shape[1] // len(codes), dim=0)
        return amplified(spectra, gains)

    def _powers(self, spectra: Tensor, codes: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean powers of each register in each model beat as it comes out of the decoder, late by `lookahead` latent
        frames: as it is made, and as codes state it, (n, N_LEVELS) both."""
        quantizer, n_frames = self.codec.quantizer, codes.shape[1]
        heard = codes[0, :1].expand(self.n_late, -1) if before is None else before[-1, n_frames - self.n_late :]
        said = torch.cat([heard, codes.flatten(0, 1)])[: n_frames * len(codes), quantizer.n_learned]
        parts = register_powers(spectra)[0], quantizer.level.powers(said)
        made, stated = (part.unflatten(0, (len(codes), -1)).mean(dim=1) for part in parts)
        return made, stated

    def _decibels(self, made: Tensor, stated: Tensor) -> Tensor:
        return 10.0 * ((made + self.floor) / (stated + self.floor)).log10()
