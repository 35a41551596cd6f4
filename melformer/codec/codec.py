"""The VQ-VAE over beats: encoder, quantizer, decoder."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from melformer.codec.blocks import BlockStack
from melformer.codec.losses import HEARD_HZ, REFERENCE_BPM, mel_filters
from melformer.codec.partials import tune
from melformer.codec.quantizer import Quantized, ResidualVectorQuantizer
from melformer.codec.sources import SourceScorer
from melformer.codec.stft import BeatSTFT
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
        ratio = config.work_samples_per_beat / config.samples_per_beat
        self.stft = BeatSTFT(
            config.work_samples_per_beat, config.frames_per_beat, round(config.n_fft * ratio), config.n_bins
        )
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
        """Samples (of the work grid) by which the output of a stream is late."""
        return (self.lookahead * self.stride + self.stft.delay_frames) * self.stft.hop_length

    def spectra(self, latents: Tensor, state: DecoderState | None, beat: int = 0) -> tuple[Tensor, DecoderState]:
        """(B, T, latent_dim + 2 · n_registers) → complex (B, T·stride, n_bins), `lookahead` latent frames late.

        Without a `state`, `beat` is how many beats of the stream came before. Where latents come without partials,
        nothing is tuned.
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
        if partials.shape[-1]:
            segments = torch.cat([state.partials if state else torch.zeros_like(segments[:, :1]), segments], dim=1)
            spectra = tune(spectra, segments, first, self.stft, self.lookahead * self.stride)
        carry = state.carry if state else spectra.real.new_zeros(0)
        frame = int(first + frames.shape[1])
        return spectra, DecoderState(latent_states, frame_states, carry, frame, segments[:, -1:])

    def forward(self, latents: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """(B, T, latent_dim) → samples (B, T·stride·hop), late by `delay_samples`, and the state to go on with."""
        spectra, new_state = self.spectra(latents, state)
        if state is None:  # what comes out before the first latent's own frames is no sound of anybody's
            late = self.lookahead * self.stride
            spectra = torch.cat([torch.zeros_like(spectra[:, :late]), spectra[:, late:]], dim=1)
        samples, new_state.carry = self.stft.overlap_add(self.stft.segments(spectra), state.carry if state else None)
        return samples, new_state


def _magnitude(logarithm: Tensor) -> Tensor:
    return torch.exp(logarithm.clamp(max=6.0) - 6.0)  # starts near silence; at most full scale


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
    ) -> "Outcome":
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
        return Outcome(samples, quantized, stability)


@dataclass(frozen=True)
class Outcome:
    """A training pass: late samples (B, n_beats · work), what was quantised, and how far slightly changed beats moved
    in the latents, as a share of their variance."""

    samples: Tensor
    quantized: Quantized
    stability: Tensor
