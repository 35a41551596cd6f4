"""The VQ-VAE over beats: encoder, quantizer, decoder."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from melformer.codec.decoder import Decoder, DecoderState
from melformer.codec.encoder import (
    Encoder,
)
from melformer.codec.quantizer import Quantized, ResidualVectorQuantizer
from melformer.codec.source_scorer import SourceScorer
from melformer.codec.stft import BeatSTFT
from melformer.config import CodecConfig


class Codec(nn.Module):
    """Encoder, quantizer, decoder: beats in, codes out, and back; and, in some, a scorer of sources."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = BeatSTFT(config.samples_per_beat, config.frames_per_beat, config.n_fft, config.n_bins)
        self.encoder = Encoder(config)
        self.quantizer = ResidualVectorQuantizer(
            config.latent_dim,
            config.n_codebooks,
            config.codebook_size,
            config.codebook_dim,
            config.n_registers,
            config.per_segment,
        )
        self.decoder = Decoder(config)
        self.scorer: SourceScorer | None = None
        if config.n_source_bands:
            sizes = (config.latent_dim, config.n_source_bands, config.source_dim)
            self.scorer = SourceScorer(*sizes, self.quantizer.partials, config.work_samples_per_beat)

    def encode_latents(self, beats: Tensor, with_partials: bool = True) -> Tensor:
        """Beats (B, samples_per_beat), 40,000 samples or the work grid's → latents before quantising.

        They are (B, latent_frames_per_beat, latent_dim), and where the configuration has registers N_LEVELS more for
        levels and 2 · n_registers for partials, unless only the others are wanted.
        """
        stft = self.decoder.stft if beats.shape[-1] == self.decoder.stft.samples_per_beat else self.stft
        spectra = stft.analyse(beats)
        if not self.config.n_registers:
            return self.encoder(spectra * stft.advance(0, spectra.shape[1]).conj())
        latents = self.encoder(spectra, stft.analyse(beats, late=True))
        return torch.cat([latents.float(), self.quantizer.partials.find(beats)], dim=-1) if with_partials else latents

    @torch.inference_mode()
    def encode(self, beats: Tensor) -> Tensor:
        """Beats (n_beats, samples_per_beat) → codes int64 (n_beats, latent_frames_per_beat, n_codebooks).

        One beat at a time: a batch may round differently, and the same beat must always give the same codes.
        """
        return self.quantize(self.encode_alone(beats))

    @torch.inference_mode()
    def encode_alone(self, beats: Tensor) -> Tensor:
        """The first half of `encode`: beats → latents (n_beats, latent_frames_per_beat, latent_dim)."""
        return torch.cat([self.encode_latents(beat[None]) for beat in beats])

    @torch.inference_mode()
    def quantize(self, latents: Tensor) -> Tensor:
        """The second half of `encode`: latents → codes."""
        return torch.cat([self.quantizer.encode(beat[None]) for beat in latents])

    @torch.inference_mode()
    def decode(self, codes: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """Codes (B, n_beats, frames, n_codebooks) → late samples (B, n_beats · work_samples_per_beat), and state."""
        latents = self.quantizer.decode(codes.flatten(1, 2))
        return self.decoder(latents, state)

    @torch.inference_mode()
    def decode_loop(self, codes: Tensor) -> Tensor:
        """A whole loop without delay: codes (n_beats, frames, n) → (n_beats · work_samples_per_beat,).

        What comes before the first beat is the last one, and the reverse, as when the loop plays round.
        """
        around = torch.cat([codes[-1:], codes, codes[:1]])[None]
        samples, _ = self.decode(around)
        start = self.decoder.delay_samples + self.decoder.stft.samples_per_beat
        return samples[0, start : start + len(codes) * self.decoder.stft.samples_per_beat]

    def forward(
        self, beats: Tensor, depths: Tensor | None = None, bypass: bool = False, nearly: Tensor | None = None
    ) -> "CodecOutput":
        """Training pass over crops (B, n_beats, work samples); see `ResidualVectorQuantizer.forward` for the options.

        `nearly` (B, n, work samples) are the first n beats of each crop, slightly changed: their latents should not be.
        """
        latents = self.encode_latents(beats.flatten(0, 1)).unflatten(0, beats.shape[:2]).flatten(1, 2)
        quantized = self.quantizer(latents.float(), depths, bypass)
        samples, _ = self.decoder(quantized.latents)
        stability = samples.new_zeros(())
        if nearly is not None:
            changed = self.encode_latents(nearly.flatten(0, 1), False).unflatten(0, nearly.shape[:2]).flatten(1, 2)
            changed, dim = changed.float()[..., : self.config.latent_dim], self.config.latent_dim
            same = latents[:, : changed.shape[1], :dim].float().detach()
            stability = (changed - same).square().mean() / same.var(dim=(0, 1)).mean()
        return CodecOutput(samples, quantized, stability)


@dataclass(frozen=True)
class CodecOutput:
    """A training pass: late samples (B, n_beats · work), what was quantised, and how far slightly changed beats moved
    in the latents, as a share of their variance."""

    samples: Tensor
    quantized: Quantized
    stability: Tensor
