"""The VQ-VAE over beats: encoder, quantizer, decoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from melformer.audio.grid import BeatGrid, fit_to_grid, loop_beats
from melformer.audio.resample import resample_span
from melformer.audio.waveform import Waveform
from melformer.codec.decoder import Decoder, DecoderState
from melformer.codec.encoder import Encoder
from melformer.codec.quantizer import Quantized, ResidualVectorQuantizer
from melformer.codec.source_scorer import SourceScorer
from melformer.config import CodecConfig
from melformer.errors import TempoError


class Codec(nn.Module):
    """Encoder, quantizer, decoder: beats in, codes out, and back; and the scorer of sources, which reads codes."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantizer = ResidualVectorQuantizer(
            config.latent_dim, config.n_codebooks, config.codebook_size, config.codebook_dim, config.n_registers,
            config.per_segment,
        )  # fmt: skip
        self.decoder = Decoder(config)
        self.scorer = SourceScorer(
            config.latent_dim, config.n_source_bands, config.source_dim, self.quantizer.partials,
            config.samples_per_beat,
        )  # fmt: skip

    def encode_latents(self, beats: Tensor, with_partials: bool = True) -> Tensor:
        """Beats (B, samples_per_beat) → latents before quantising: (B, latent_frames_per_beat, latent_dim + N_LEVELS
        for levels + 2 · n_registers for partials, unless only the others are wanted)."""
        stft = self.decoder.stft
        latents = self.encoder(stft.analyse(beats), stft.analyse(beats, late=True))
        return torch.cat([latents.float(), self.quantizer.partials.find(beats)], dim=-1) if with_partials else latents

    @torch.inference_mode()
    def encode(self, beats: Tensor) -> Tensor:
        """Beats (n_beats, samples_per_beat) → codes int64 (n_beats, latent_frames_per_beat, n_codebooks).

        One beat at a time, and in 32-bit floats: a batch or another type may round differently, and the same beat must
        always give the same codes.
        """
        with torch.autocast(beats.device.type, enabled=False):
            return torch.cat([self.quantizer.encode(self.encode_latents(beat[None])) for beat in beats])

    def encode_loop(self, loop: Waveform, bpm: float) -> np.ndarray:
        """Codes of a loop's mono mix: int64 (model beats, latent_frames_per_beat, n_codebooks).

        Errors: TempoError for an impossible BPM, or a loop that is no whole model beat.
        """
        beats = loop_beats(loop, bpm, self.config.samples_per_beat)
        if not len(beats):
            raise TempoError(f"one beat at {bpm:g} BPM is half a model beat: give two beats or more")
        return self.encode(torch.from_numpy(beats)).numpy()

    @torch.inference_mode()
    def decode(self, codes: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """Codes (B, n_beats, frames, n_codebooks) → late samples (B, n_beats · samples_per_beat), and state."""
        latents = self.quantizer.decode(codes.flatten(1, 2))
        return self.decoder(latents, state)

    @torch.inference_mode()
    def decode_loop(self, codes: Tensor) -> Tensor:
        """A whole loop without delay: codes (n_beats, frames, n) → (n_beats · samples_per_beat,).

        What comes before the first beat is the last one, and the reverse, as when the loop plays round.
        """
        samples, first = self.decode_around(codes)
        return samples[0, first : first + len(codes) * self.decoder.stft.samples_per_beat]

    @torch.inference_mode()
    def decode_around(self, codes: Tensor, gains: Tensor | None = None) -> tuple[Tensor, int]:
        """A loop and, on either side, what stands there when it plays round: codes (n_beats, frames, n) → samples
        (channels, n), and which of them is the loop's first. `gains` complex (channels, n_bins) place it; else mono."""
        around = torch.cat([codes[-1:], codes, codes[:1]])
        spectra, _ = self.decoder.spectra(self.quantizer.decode(around.flatten(0, 1)[None]), None)
        if gains is not None:
            spectra = spectra * gains[:, None]
        samples, _ = self.decoder.stft.overlap_add(self.decoder.stft.segments(spectra))
        return samples, self.decoder.delay_samples + self.decoder.stft.samples_per_beat

    def decode_on(self, grid: BeatGrid, n_beats: int, codes: np.ndarray, gains: Tensor | None = None) -> np.ndarray:
        """A loop of `n_beats` at a grid's own rate: codes (model beats, frames, n) → float32 (samples, channels).

        What comes before the first model beat is the last one, as when the loop plays round; `gains` as in
        `decode_around`.
        """
        samples, first = self.decode_around(torch.from_numpy(codes), gains)
        step, n_samples = 1 / grid.model_step(self.config.samples_per_beat), grid.edge(n_beats)
        return resample_span(samples.numpy().T, step, -grid.n_skipped(n_beats), n_samples, first)

    def reconstruct(self, loop: Waveform, bpm: float) -> Waveform:
        """A loop's whole beats encoded and decoded, by the codes alone: mono, at its own rate."""
        grid, fit = BeatGrid(bpm, loop.sample_rate), fit_to_grid(loop, bpm)
        return Waveform(self.decode_on(grid, fit.n_beats, self.encode_loop(fit.waveform, bpm)), loop.sample_rate)

    def forward(
        self, beats: Tensor, depths: Tensor | None = None, bypass: bool = False, nearly: Tensor | None = None
    ) -> "CodecOutput":
        """Training pass over crops (B, n_beats, samples); see `ResidualVectorQuantizer.forward` for the options.

        `nearly` (B, n, samples) are the first n beats of each crop, slightly changed: their latents should not be.
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
