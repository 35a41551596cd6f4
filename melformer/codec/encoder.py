"""Beats to latents: a small convolutional network over spectra that no level changes."""

import torch
from torch import Tensor, nn

from melformer.audio.grid import beats_per_second
from melformer.codec.blocks import BlockStack
from melformer.codec.losses import HEARD_HZ, REFERENCE_BPM, mel_filters
from melformer.config import LEVEL_BIN, CodecConfig

N_MOMENTS = 24
"""Bands of which the encoder hears when in a window they sound."""


class Encoder(nn.Module):
    """Spectra of one beat → latents; a beat's latents depend on that beat alone.

    Complex (B, frames_per_beat, n_bins), plain and late (`BeatSTFT.analyse`) → (B, latent_frames_per_beat,
    latent_dim + N_LEVELS): latents of `shapes` and `moments`, which no level changes, and the levels beside them.
    """

    bands: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        sizes = (config.expansion, config.kernel_size, False)
        rate = config.samples_per_beat * beats_per_second(REFERENCE_BPM)
        bands = mel_filters(config.n_fft, N_MOMENTS, rate, HEARD_HZ)
        self.register_buffer("bands", bands[: config.n_bins], persistent=False)
        self.project_in = nn.Linear(config.n_bins + N_MOMENTS, config.frame_dim)
        self.frame_blocks = BlockStack(config.n_encoder_layers, config.frame_dim, *sizes)
        self.stride = config.stride
        self.pool = nn.Linear(config.stride * config.frame_dim, config.latent_dim)
        self.latent_blocks = BlockStack(config.n_encoder_latent_layers, config.latent_dim, *sizes)
        self.norm = nn.LayerNorm(config.latent_dim)

    def forward(self, spectra: Tensor, late: Tensor) -> Tensor:
        heard, levels = shapes(spectra, self.stride)
        heard = torch.cat([heard, moments(spectra, late, self.bands)], dim=-1)
        frames, _ = self.frame_blocks(self.project_in(heard))
        latents = self.pool(frames.unflatten(1, (-1, self.stride)).flatten(2))
        latents = self.norm(self.latent_blocks(latents)[0])
        return torch.cat([latents, levels.to(latents.dtype)], dim=-1)


def shapes(spectra: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """What is heard apart from how loud it is: complex (B, T, n) → shapes (B, T, n), levels (B, T // stride, N_LEVELS).

    Shapes are log10 magnitudes over the level of their register, a bin range, in their latent frame; levels are log10
    powers. What lies 70 dB under the beat's own power, or is silence, is flat.
    """
    power = spectra.real.square() + spectra.imag.square()
    power = power + 1e-7 * power.sum(dim=-1).mean(dim=1)[:, None, None] + 1e-11
    registers = power.split([LEVEL_BIN, power.shape[-1] - LEVEL_BIN], dim=-1)
    levels = [part.sum(dim=-1).unflatten(1, (-1, stride)).mean(dim=-1).log10() for part in registers]
    parts = [part.log10() - level[..., None].repeat_interleave(stride, dim=1) for part, level in zip(registers, levels)]
    return 0.5 * torch.cat(parts, dim=-1) + 1.2, torch.stack(levels, dim=-1)


def register_powers(spectra: Tensor) -> Tensor:
    """Complex (..., n_bins) → the power of every register: (..., N_LEVELS)."""
    power = spectra.real.square() + spectra.imag.square()
    return torch.stack([power[..., :LEVEL_BIN].sum(dim=-1), power[..., LEVEL_BIN:].sum(dim=-1)], dim=-1)


def amplified(spectra: Tensor, gains: Tensor) -> Tensor:
    """Every register of complex spectra (..., n_bins) by its gain (..., N_LEVELS)."""
    counts = torch.tensor([LEVEL_BIN, spectra.shape[-1] - LEVEL_BIN])
    return spectra * gains.repeat_interleave(counts, dim=-1)


def moments(spectra: Tensor, late: Tensor, bands: Tensor) -> Tensor:
    """When in each frame's window every band sounds, from −1 to 1: complex (B, T, n) twice, filters (n, N_MOMENTS)
    → (B, T, N_MOMENTS). An attack is shorter than a window, and magnitudes do not tell where in it it lies."""
    power = spectra.real.square() + spectra.imag.square()
    later = spectra.real * late.real + spectra.imag * late.imag
    total = power @ bands
    floor = 1e-3 * total.mean(dim=(1, 2), keepdim=True) + 1e-13
    return 2.0 * (later @ bands) / (total + floor)
