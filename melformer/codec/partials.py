"""Tones as partials: what a quarter of a beat holds of them, in codes of a fixed codebook, and how they are said.

Latents of a few short frames hold envelopes, not pitches: a decoder blurs every tone into noise of the same colour. So
the strongest partials of each quarter of a beat are found by their peaks in a spectrum three times as long (McAulay and
Quatieri 1986), and each becomes one code: a frequency on a logarithmic scale, in cycles per beat, and a weight. The
decoder's spectrum gives them their loudness: near a partial, its energy is gathered into a steady tone.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.codec.stft import BeatSTFT
from melformer.config import SEGMENTS

LOWEST, HIGHEST = 17.0, 2_700.0
"""Cycles per beat: 34 Hz to 5.4 kHz at 120 BPM."""
N_WEIGHTS, WEIGHT_DB = 5, 6.0
WINDOW = 0.35
PADDED = 2
PROMINENCE_DB, FLOOR_DB, SILENCE_DB = 9.0, 50.0, -75.0
NEAR_BINS, USUAL_STEP = 15, 4
SIDE_BINS, SIDE_DB = 5, 18.0
HELD_CENTS = 16.0
KERNEL_BINS = 3


class PartialsCodebook(nn.Module):
    """Codes of partials: `n_registers` codebooks, each for its own part of the logarithmic scale of frequencies.

    Entry 0 is no partial; entry 1 + N_WEIGHTS · k + w the k-th frequency of the register, w · 6 dB under the strongest.
    """

    frequencies: Tensor
    weights: Tensor

    def __init__(self, n_registers: int, codebook_size: int, per_segment: int) -> None:
        super().__init__()
        self.n_registers, self.per_segment = n_registers, per_segment
        self.n_frequencies = (codebook_size - 1) // N_WEIGHTS
        self.low, span = math.log2(LOWEST), math.log2(HIGHEST / LOWEST)
        self.span = span / n_registers
        steps = torch.arange(n_registers * self.n_frequencies, dtype=torch.float64) + 0.5
        table = torch.exp2(self.low + self.span * steps / self.n_frequencies)
        weights = 10.0 ** (-WEIGHT_DB / 20.0 * torch.arange(N_WEIGHTS, dtype=torch.float64))
        self.register_buffer("weights", weights.float(), persistent=False)
        # a table, since powers round differently in long and short tensors, and phases would drift apart by it
        self.register_buffer("frequencies", table.float().view(n_registers, self.n_frequencies), persistent=False)

    def encode(self, found: Tensor) -> Tensor:
        """Partials (..., 2 · n_registers) → codes int64 (..., n_registers)."""
        frequency, weight = found.float().chunk(2, dim=-1)
        register = torch.arange(self.n_registers, device=found.device)
        place = (frequency.clamp_min(1.0).log2() - self.low) / self.span - register
        step = (place * self.n_frequencies).floor().clamp(0, self.n_frequencies - 1)
        softer = (-20.0 / WEIGHT_DB * weight.clamp_min(1e-9).log10()).round().clamp(0, N_WEIGHTS - 1)
        return torch.where(weight > 0.0, 1 + N_WEIGHTS * step + softer, 0.0).long()

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes int64 (..., n_registers) → partials (..., 2 · n_registers)."""
        step = torch.div(codes - 1, N_WEIGHTS, rounding_mode="floor")
        known = (codes > 0) & (step < self.n_frequencies)
        register = torch.arange(self.n_registers, device=codes.device)
        frequency = self.frequencies[register, step.clamp(0, self.n_frequencies - 1)]
        weight = self.weights[(codes - 1) % N_WEIGHTS]
        return torch.cat([frequency, torch.where(known, weight, 0.0)], dim=-1)

    @torch.no_grad()
    def find(self, beats: Tensor) -> Tensor:
        """Each beat's partials: (B, samples) → (B, SEGMENTS · per_segment, 2 · n_registers), the strongest first."""
        n = beats.shape[-1]
        window = round(WINDOW * n)
        padded = F.pad(beats.float()[:, None], (window, window), mode="reflect")[:, 0]
        first = [window + i * n // SEGMENTS + n // (2 * SEGMENTS) - window // 2 for i in range(SEGMENTS)]
        parts = torch.stack([padded[:, i : i + window] for i in first], dim=1)
        taper = torch.hann_window(window, device=beats.device)
        step = n / (PADDED * window)  # cycles per beat from bin to bin
        top = round(HIGHEST / step) + 2
        spectra = torch.fft.rfft(parts * taper, PADDED * window)[..., :top].abs() * (2.0 / taper.sum())
        level = 20.0 * (spectra + 1e-7).log10()
        left, peak, right = level[..., :-2], level[..., 1:-1], level[..., 2:]
        reach = NEAR_BINS * PADDED
        margins = (reach - 1 - USUAL_STEP // 2, reach - 1 + USUAL_STEP)
        around = F.pad(level, margins, mode="reflect").unfold(-1, 2 * reach - 1, USUAL_STEP)[..., ::PADDED]
        usual = _median(around).repeat_interleave(USUAL_STEP, dim=-1)[..., :top]
        stands_out = (peak > left) & (peak >= right) & (peak > usual[..., 1:-1] + PROMINENCE_DB)
        beside = F.max_pool1d(level, 2 * SIDE_BINS * PADDED + 1, 1, SIDE_BINS * PADDED)[..., 1:-1]
        stands_out &= peak > beside - SIDE_DB  # the window's own side lobes do not
        stands_out &= (peak > level.amax(dim=-1, keepdim=True) - FLOOR_DB) & (peak > SILENCE_DB)
        bend = (left - 2.0 * peak + right).clamp_max(-1e-6)
        offset = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
        frequency = (torch.arange(1, top - 1, device=beats.device) + offset) * step
        register = ((frequency.log2() - self.low) / self.span).floor()
        own = register[..., None, :] == torch.arange(self.n_registers, device=beats.device)[:, None]
        here = torch.where(own & stands_out[..., None, :], spectra[..., None, 1:-1], 0.0)
        strength, index = here.topk(self.per_segment, dim=-1)  # (B, SEGMENTS, n_registers, per_segment)
        heard = _held(frequency[..., None, :].expand_as(here).gather(-1, index), strength)
        weight = strength / strength[..., :1].clamp_min(1e-9)
        return torch.cat([heard, weight], dim=2).transpose(2, 3).flatten(1, 2)


def _median(values: Tensor) -> Tensor:
    """The lower median of the last dimension, as `Tensor.median` gives it, but on a CPU seven times as fast."""
    if values.device.type != "cpu":
        return values.median(dim=-1).values
    middle = (values.shape[-1] - 1) // 2
    return torch.from_numpy(np.partition(values.numpy(), middle, axis=-1)[..., middle])


def _held(frequency: Tensor, strength: Tensor) -> Tensor:
    """Let partials of a segment that differ from one before by less than HELD_CENTS go on as that one: (B, SEGMENTS, …,
    n) twice → frequencies. A steady tone that jumps between two neighbouring codes would beat with itself."""
    held = [frequency[:, 0]]
    for segment in range(1, SEGMENTS):
        gaps = (frequency[:, segment, ..., None] / held[-1][..., None, :]).log2().abs() * 1_200.0
        gaps = gaps + 1e6 * (strength[:, segment - 1, ..., None, :] <= 0.0)
        nearest, which = gaps.min(dim=-1)
        held.append(torch.where(nearest < HELD_CENTS, held[-1].gather(-1, which), frequency[:, segment]))
    return torch.stack(held, dim=1)


def tune(spectra: Tensor, partials: Tensor, first: int, stft: BeatSTFT, n_fade: int) -> Tensor:
    """Gather energy into tones: complex spectra (B, T, n_bins), frames `first` … of a stream, → the same shape.

    `partials` (B, n_segments, per_segment, 2 · n_registers) begin with the segment before that of frame
    `first` + `n_fade`; over `n_fade` frames on either side of an edge two segments fade into each other. Phases are a
    function of frequency and time alone, so a tone goes on through all beats.
    """
    n_frames, n_bins = spectra.shape[1:]
    frequency, weight, fade = _heard(partials, first, n_frames, stft.frames_per_beat // SEGMENTS, n_fade)
    middle = (frequency * (stft.n_fft / stft.samples_per_beat)).round()
    offsets = torch.arange(-KERNEL_BINS, KERNEL_BINS + 1, device=spectra.device)
    apart = offsets + (middle - frequency * (stft.n_fft / stft.samples_per_beat))[..., None]
    kernel = torch.sinc(apart) + 0.5 * (torch.sinc(apart - 1.0) + torch.sinc(apart + 1.0))  # a Hann window's
    index = (middle[..., None].long() + offsets).clamp(0, n_bins - 1).flatten(2)
    power = kernel.square()
    energy = spectra.real.square() + spectra.imag.square()
    claim = power * (weight.square() * fade)[..., None]
    claims = torch.zeros_like(energy).scatter_add_(2, index, claim.flatten(2))
    ratio = (energy / (claims + 1e-20)).gather(2, index).unflatten(2, kernel.shape[2:])
    amplitude = ((ratio * claim).sum(dim=-1) / power.sum(dim=-1) + 1e-14).sqrt() * (fade * (weight > 0.0)).sqrt()
    near = power / power.amax(dim=-1, keepdim=True) * (fade * (weight > 0.0))[..., None]
    taken = torch.zeros_like(energy).scatter_reduce_(2, index, near.flatten(2), "amax")
    time = (first + torch.arange(n_frames, device=spectra.device, dtype=torch.float64) + 0.5) / stft.frames_per_beat
    turns = frequency.double() * time[:, None]
    phase = (2.0 * torch.pi * (turns - turns.floor()).float())[..., None] - torch.pi * apart
    tones = (amplitude[..., None] * kernel * torch.polar(torch.ones_like(phase), phase)).flatten(2)
    kept = spectra * (1.0 - 2.0 * taken).clamp_min(1e-8).sqrt()
    return torch.complex(kept.real.scatter_add(2, index, tones.real), kept.imag.scatter_add(2, index, tones.imag))


def _heard(partials: Tensor, first: int, n_frames: int, length: int, n_fade: int) -> tuple[Tensor, Tensor, Tensor]:
    """The partials that each frame hears, its own segment's and, near an edge, its neighbour's: frequencies, weights
    and fades, (B, n_frames, n) each."""
    frame = torch.arange(first, first + n_frames, device=partials.device)
    place, segment = frame % length, torch.div(frame, length, rounding_mode="floor")
    before, after = place < n_fade, place >= length - n_fade
    other = (n_fade - 0.5 - torch.where(before, place, length - 1 - place)) / (2.0 * n_fade)
    other = torch.where(before | after, other, 0.0)
    neighbour = segment + after.long() - before.long()
    origin = (first + n_fade) // length - 1
    last = partials.shape[1] - 1
    slots = [partials[:, (s - origin).clamp(0, last)] for s in (segment, neighbour)]
    frequency, weight = torch.cat(slots, dim=2).chunk(2, dim=-1)
    fade = torch.stack([1.0 - other, other], dim=1)[None, :, :, None, None].to(weight.dtype)
    fade = fade.expand(len(partials), -1, -1, slots[0].shape[2], weight.shape[-1]).flatten(2)
    return frequency.flatten(2), weight.flatten(2), fade
