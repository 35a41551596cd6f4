"""Beats to latents: a small convolutional network over spectra that no level changes."""

import torch
from torch import Tensor, nn

from melformer.codec.blocks import BlockStack
from melformer.codec.losses import HEARD_HZ, REFERENCE_BPM, mel_filters
from melformer.config import CodecConfig

N_MOMENTS = 24
"""Bands of which the encoder hears when in a window they sound."""
REGISTER_BIN = 32
"""Where levels are told apart, the first bin of the high register: 1 kHz at 120 BPM."""


class Encoder(nn.Module):
    """Spectra of one beat → latents; a beat's latents depend on that beat alone.

    Complex (B, frames_per_beat, n_bins) → (B, latent_frames_per_beat, latent_dim), and N_LEVELS more where the
    configuration has registers: then latents are of `shapes` and `moments`, which no level changes.
    """

    bands: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        sizes = (config.expansion, config.kernel_size, False)
        self.n_tonal_bins = config.n_tonal_bins
        n_inputs = config.n_bins + N_MOMENTS if config.n_registers else 3 * config.n_bins + 2 * config.n_tonal_bins
        bands = mel_filters(config.n_fft, N_MOMENTS, config.samples_per_beat * REFERENCE_BPM / 60.0, HEARD_HZ)
        self.register_buffer("bands", bands[: config.n_bins], persistent=False)
        self.project_in = nn.Linear(n_inputs, config.frame_dim)
        self.frame_blocks = BlockStack(config.n_encoder_layers, config.frame_dim, *sizes)
        self.stride = config.stride
        self.pool = nn.Linear(config.stride * config.frame_dim, config.latent_dim)
        self.latent_blocks = BlockStack(config.n_encoder_latent_layers, config.latent_dim, *sizes)
        self.norm = nn.LayerNorm(config.latent_dim)

    def forward(self, spectra: Tensor, late: Tensor | None = None) -> Tensor:
        """`late` are the spectra that say how late each bin sounds (`BeatSTFT.analyse`), wanted with registers."""
        levels = None
        if late is not None:
            heard, levels = shapes(spectra, self.stride)
            heard = torch.cat([heard, moments(spectra, late, self.bands)], dim=-1)
        else:
            heard = torch.cat([features(spectra), tones(spectra[..., : self.n_tonal_bins])], dim=-1)
        frames, _ = self.frame_blocks(self.project_in(heard))
        latents = self.pool(frames.unflatten(1, (-1, self.stride)).flatten(2))
        latents = self.norm(self.latent_blocks(latents)[0])
        return latents if levels is None else torch.cat([latents, levels.to(latents.dtype)], dim=-1)


def shapes(spectra: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """What is heard apart from how loud it is: complex (B, T, n) → shapes (B, T, n), levels (B, T // stride, N_LEVELS).

    Shapes are log10 magnitudes over the level of their register, a bin range, in their latent frame; levels are log10
    powers. What lies 70 dB under the beat's own power, or is silence, is flat.
    """
    power = spectra.real.square() + spectra.imag.square()
    power = power + 1e-7 * power.sum(dim=-1).mean(dim=1)[:, None, None] + 1e-11
    registers = power.split([REGISTER_BIN, power.shape[-1] - REGISTER_BIN], dim=-1)
    levels = [part.sum(dim=-1).unflatten(1, (-1, stride)).mean(dim=-1).log10() for part in registers]
    parts = [part.log10() - level[..., None].repeat_interleave(stride, dim=1) for part, level in zip(registers, levels)]
    return 0.5 * torch.cat(parts, dim=-1) + 1.2, torch.stack(levels, dim=-1)


def register_powers(spectra: Tensor) -> Tensor:
    """Complex (..., n_bins) → the power of every register: (..., N_LEVELS)."""
    power = spectra.real.square() + spectra.imag.square()
    return torch.stack([power[..., :REGISTER_BIN].sum(dim=-1), power[..., REGISTER_BIN:].sum(dim=-1)], dim=-1)


def amplified(spectra: Tensor, gains: Tensor) -> Tensor:
    """Every register of complex spectra (..., n_bins) by its gain (..., N_LEVELS)."""
    counts = torch.tensor([REGISTER_BIN, spectra.shape[-1] - REGISTER_BIN])
    return spectra * gains.repeat_interleave(counts, dim=-1)


def moments(spectra: Tensor, late: Tensor, bands: Tensor) -> Tensor:
    """When in each frame's window every band sounds, from −1 to 1: complex (B, T, n) twice, filters (n, N_MOMENTS)
    → (B, T, N_MOMENTS). An attack is shorter than a window, and magnitudes do not tell where in it it lies."""
    power = spectra.real.square() + spectra.imag.square()
    later = spectra.real * late.real + spectra.imag * late.imag
    total = power @ bands
    floor = 1e-3 * total.mean(dim=(1, 2), keepdim=True) + 1e-13
    return 2.0 * (later @ bands) / (total + floor)


def features(spectra: Tensor, power: float = 0.3) -> Tensor:
    """Log-magnitude, and power-compressed real and imaginary parts: complex (..., n) → float (..., 3n).

    The logarithm stands there too because a loudness that must first be found in the phases is learned slowly.
    """
    real, imaginary = spectra.real, spectra.imag
    squared = real.square() + imaginary.square() + 1e-12
    scale = 6.0 * (squared.log() * (0.5 * (power - 1.0))).exp()  # a power, but three times as fast
    level = (squared.sqrt() + 1e-5).log10() + 3.5  # about zero mean and unit spread on music
    return torch.cat([level, scale * real, scale * imaginary], dim=-1)


def tones(spectra: Tensor) -> Tensor:
    """How far each bin has turned since the frame before, as loud as the bin: complex (..., T, n) → float (..., T, 2n).

    This is a tone's exact frequency, which magnitudes tell only to a bin's width. A beat's first frame has none.
    """
    turned = spectra[..., 1:, :] * spectra[..., :-1, :].conj()
    turned = torch.view_as_real(torch.cat([torch.zeros_like(spectra[..., :1, :]), turned], dim=-2))
    squared = turned.square().sum(-1, keepdim=True) + 1e-14
    return (6.0 * turned * squared.pow(-0.425)).flatten(-2)  # a modulus of the amplitude's power 0.3, as in `features`
