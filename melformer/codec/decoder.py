"""Latents to samples, causally: a convolutional network with an inverse-STFT head."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from melformer.codec.blocks import BlockStack
from melformer.codec.partials import tune
from melformer.codec.stft import BeatSTFT
from melformer.config import CodecConfig


@dataclass
class DecoderState:
    """What a decoder carries from beat to beat: the inputs its convolutions still see, unfinished samples, and the
    last segment's partials (B, 1, per_segment, 2 · n_registers)."""

    latent_blocks: list[Tensor]
    frame_blocks: list[Tensor]
    carry: Tensor
    frame: int
    partials: Tensor


class Decoder(nn.Module):
    """Latents → samples, causally and late by `delay_samples`, with an inverse-STFT head as in Vocos.

    The head gives every bin a magnitude and a phase, and a second magnitude for a fixed pattern of noise, so
    that hiss needs no learned phase. The pattern repeats every beat: the same codes sound the same.
    """

    noise: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        sizes = (config.expansion, config.kernel_size, True)
        self.stft = BeatSTFT(config.samples_per_beat, config.frames_per_beat, config.n_fft, config.n_bins)
        self.stride, self.lookahead = config.stride, config.lookahead_frames
        self.latent_dim, self.per_segment = config.latent_dim, config.per_segment
        self.latent_blocks = BlockStack(config.n_decoder_latent_layers, config.latent_dim, *sizes)
        self.expand = nn.Linear(config.latent_dim, config.stride * config.frame_dim)
        self.frame_blocks = BlockStack(config.n_decoder_layers, config.frame_dim, *sizes)
        self.norm = nn.LayerNorm(config.frame_dim)
        self.head = nn.Linear(config.frame_dim, 4 * config.n_bins)
        self.register_buffer("noise", self._noise())

    def _noise(self) -> Tensor:
        """Spectra of one beat of white noise that wraps around: complex (frames_per_beat, n_bins) as reals."""
        stft = self.stft
        beat = torch.randn(stft.samples_per_beat, generator=torch.Generator().manual_seed(0))
        padding = (stft.n_fft - stft.hop_length) // 2
        spectra = stft.frames(torch.cat([beat[-padding:], beat, beat[:padding]])[None])[0]
        return torch.view_as_real(spectra / spectra.abs().square().mean().sqrt()).contiguous()

    @property
    def delay_samples(self) -> int:
        """Samples (of the beat grid) by which the output of a stream is late."""
        return (self.lookahead * self.stride + self.stft.delay_frames) * self.stft.hop_length

    def spectra(self, latents: Tensor, state: DecoderState | None, beat: int = 0) -> tuple[Tensor, DecoderState]:
        """(B, T, latent_dim + 2 · n_registers) → complex (B, T·stride, n_bins), `lookahead` latent frames late.

        Without a `state`, `beat` is how many beats of the stream came before.
        """
        latents, partials = latents.split([self.latent_dim, latents.shape[-1] - self.latent_dim], dim=-1)
        frames, latent_states = self.latent_blocks(latents, state.latent_blocks if state else None)
        frames = self.expand(frames).unflatten(-1, (self.stride, -1)).flatten(1, 2)
        frames, frame_states = self.frame_blocks(frames, state.frame_blocks if state else None)
        magnitude, noise_magnitude, real, imaginary = self.head(self.norm(frames)).float().chunk(4, dim=-1)
        first = state.frame if state else beat * self.stft.frames_per_beat - self.lookahead * self.stride
        position = (first + torch.arange(frames.shape[1], device=frames.device)) % self.stft.frames_per_beat
        length = (real.square() + imaginary.square() + 1e-6).sqrt()
        direction = torch.complex(real / length, imaginary / length) * self.stft.advance(first, frames.shape[1])
        spectra = _magnitude(magnitude) * direction
        spectra = spectra + _magnitude(noise_magnitude) * torch.view_as_complex(self.noise)[position]
        segments = partials.unflatten(1, (-1, self.per_segment))
        segments = torch.cat([state.partials if state else torch.zeros_like(segments[:, :1]), segments], dim=1)
        spectra = tune(spectra, segments, first, self.stft, self.lookahead * self.stride)
        carry = state.carry if state else spectra.real.new_zeros(0)
        frame = int(first + frames.shape[1])
        return spectra, DecoderState(latent_states, frame_states, carry, frame, segments[:, -1:])

    def forward(self, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """(B, T, latent_dim + 2 · n_registers) → samples (B, T·stride·hop), late by `delay_samples`, and the
        state to go on with."""
        spectra, new_state = self.spectra(latents, state)
        if state is None:  # what comes out before the first latent's own frames is no sound of anybody's
            late = self.lookahead * self.stride
            spectra = torch.cat([torch.zeros_like(spectra[:, :late]), spectra[:, late:]], dim=1)
        samples, new_state.carry = self.stft.overlap_add(self.stft.segments(spectra), state.carry if state else None)
        return samples, new_state


def _magnitude(logarithm: Tensor) -> Tensor:
    return torch.exp(logarithm.clamp(max=6.0) - 6.0)  # starts near silence; at most full scale
