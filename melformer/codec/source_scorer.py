"""Where a new beat's sound can come from: a small network that reads codes and scores the prompt's beats.

For every frame and band it says how far, in log10 of the level, each prompt beat's sound will be from the sound that
the new codes stand for, and how far the decoder's. It is the attention of a pointer-generator network (See et al.
2017), with distances for scores: they can be trained against true continuations, and a path through them has a cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from melformer.audio.grid import beats_per_second
from melformer.codec.losses import REFERENCE_BPM, mel_filters
from melformer.codec.partials import HIGHEST, LOWEST, PartialsCodebook
from melformer.config import SEGMENTS

VIEWS = ((2_048, 3, 2), (512, 6, 1))
"""Levels are means over these views: window in samples of the beat grid, frames per latent frame, mels per band."""
TONE_VIEW = (8_192, 1, 10)
"""In this one tones that differ by a semitone are apart: distances hear it too, or a wrong note of the same loudness
would be near."""
N_BAND_FEATURES, N_FRAME_FEATURES, N_DECODER_FEATURES = 15, 14, 12
RECENT_BEATS = 4
NOTCHES_PER_OCTAVE, NOTCHES_WIDE = 48, 3
"""The scale on which partials are compared, and how far apart they still have something in common."""


@dataclass(frozen=True)
class PromptFeatures:
    """A prompt as the scorer knows it, per model beat and latent frame.

    `latents` (P, F, dim) and `codes` (P, F, n_codebooks), `heard` (P, F, n_bands): log10 levels of its samples,
    `read`: the levels that its codes stand for, and `tones` (P, F, n_notches): its partials.
    """

    latents: Tensor
    codes: Tensor
    heard: Tensor
    read: Tensor
    tones: Tensor

    def to(self, device: torch.device) -> "PromptFeatures":
        """The same on another device."""
        return PromptFeatures(*(getattr(self, field.name).to(device) for field in fields(self)))

    @property
    def variance(self) -> Tensor:
        """How much its latents vary: the unit of distances between latents."""
        spread = self.latents - self.latents.mean(dim=(0, 1))
        return spread.square().sum(dim=-1).mean().clamp_min(1e-6)


def view_levels(
    samples: Tensor, before: Tensor, after: Tensor, n_frames: int, n_bands: int, samples_per_beat: int,
    views: Sequence[tuple[int, int, int]] = VIEWS,
) -> list[Tensor]:  # fmt: skip
    """Log10 mel levels of `n_frames` latent frames in each of `views`: (n_frames, per_frame, n_bands, per_band).

    `samples` (n_frames · hop,) of the beat grid stand between `before` and `after`. Bands are mel-spaced and belong
    to the beat grid: frequencies are those heard at 120 BPM.
    """
    rate = samples_per_beat * beats_per_second(REFERENCE_BPM)
    levels = []
    for window, per_frame, per_band in views:
        hop = len(samples) // (n_frames * per_frame)
        reach = window // 2 - hop // 2
        segments = torch.cat([before[-reach:], samples, after[:window]]).unfold(0, window, hop)
        spectra = torch.fft.rfft(segments[: n_frames * per_frame] * torch.hann_window(window))
        mels = spectra.abs() @ mel_filters(window, n_bands * per_band, rate, rate / 2.0)
        levels.append(mels.clamp_min(1e-5).log10().reshape(n_frames, per_frame, n_bands, per_band))
    return levels


def band_levels(samples: Tensor, n_frames: int, n_bands: int, samples_per_beat: int) -> Tensor:
    """Levels of a loop that plays round: samples of the beat grid (n_frames · hop,) → log10 (n_frames, n_bands)."""
    views = view_levels(samples, samples, samples, n_frames, n_bands, samples_per_beat)
    return torch.stack([view.mean(dim=(1, 3)) for view in views]).mean(dim=0)


class SourceScorer(nn.Module):
    """Predicts how far each source's sound is from what new codes stand for, per frame and band."""

    notch_bands: Tensor

    def __init__(
        self, latent_dim: int, n_bands: int, dim: int, partials: PartialsCodebook, samples_per_beat: int
    ) -> None:
        super().__init__()
        self.n_bands = n_bands
        self._partials = (partials,)  # a tuple: it is the quantizer's, and not to be saved twice
        self.register_buffer("notch_bands", _notch_bands(n_bands, samples_per_beat), persistent=False)
        self.reader = nn.Linear(3 * latent_dim, n_bands)
        self.copy_band = nn.Linear(N_BAND_FEATURES, dim)
        self.copy_frame = nn.Linear(N_FRAME_FEATURES, dim, bias=False)
        self.copy_hidden, self.copy_out = nn.Linear(dim, dim), nn.Linear(dim, 1)
        self.decoder_hidden, self.decoder_out = nn.Linear(N_DECODER_FEATURES, dim), nn.Linear(dim, 1)

    def read(self, latents: Tensor) -> Tensor:
        """Levels that codes stand for: quantised latents (n_beats, F, dim) → log10 (n_beats, F, n_bands)."""
        around = torch.nn.functional.pad(latents, (0, 0, 1, 1))
        return self.reader(torch.cat([around[:, :-2], around[:, 1:-1], around[:, 2:]], dim=-1))

    def record(self, latents: Tensor, codes: Tensor, heard: Tensor) -> PromptFeatures:
        """A prompt's quantised latents, codes and levels, with what the codes say of the levels."""
        return PromptFeatures(latents, codes, heard, self.read(latents), self.tones(codes))

    def tones(self, codes: Tensor) -> Tensor:
        """Partials that codes stand for, by weight on a scale of notches: (n_beats, F, n_codebooks) → (n_beats, F, n)
        for n notches."""
        n_beats, n_frames = codes.shape[:2]
        tones = codes.new_zeros(n_beats, SEGMENTS, len(self.notch_bands), dtype=torch.float32)
        (partials,) = self._partials
        found = partials.lookup(codes[..., -partials.n_registers :]).unflatten(1, (SEGMENTS, -1))
        frequency, weight = (part.flatten(2) for part in found.chunk(2, dim=-1))
        place = NOTCHES_PER_OCTAVE * (frequency.clamp_min(LOWEST) / LOWEST).log2()
        for offset in range(1 - NOTCHES_WIDE, NOTCHES_WIDE + 1):
            notch = place.floor() + offset
            share = weight * (1.0 - (notch - place).abs() / NOTCHES_WIDE).clamp_min(0.0)
            tones.scatter_reduce_(2, notch.long().clamp(0, tones.shape[2] - 1), share, "amax")
        return tones.repeat_interleave(n_frames // SEGMENTS, dim=1)

    def forward(
        self, prompt: PromptFeatures, latents: Tensor, codes: Tensor, position: int, recent: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Distances for one new beat: quantised latents (F, dim), codes (F, n_codebooks) of model beat `position`
        (0 is the prompt's first), `recent` (n ≤ 4, P) how far the beats before were `distances`, means, oldest first.

        → each prompt beat's (F, P, n_bands), the decoder's (F, n_bands), and how much the beat's tones differ from each
        prompt beat's (F, P, n_bands).
        """
        read, distances = self.read(latents[None])[0], self.distances(prompt, latents)
        frame = _frame_features(prompt, distances, codes, position, recent)
        gap = (read[:, None] - prompt.read.transpose(0, 1)).abs()  # (F, P, n_bands)
        tones = lacks, has, _ = self._compare_tones(prompt, codes)
        hidden = self.copy_band(_band_features(prompt, gap, read, *tones)) + self.copy_frame(frame)[:, :, None]
        copy = self.copy_out(self.copy_hidden(hidden.relu_()).relu_())[..., 0]
        features = _decoder_features(prompt, gap, read, distances, *tones)
        decoder = self.decoder_out(self.decoder_hidden(features).relu())[..., 0]
        return copy, decoder, lacks + has

    @staticmethod
    def distances(prompt: PromptFeatures, latents: Tensor) -> Tensor:
        """How far a beat's quantised latents (F, dim) are from each prompt beat's: (F, P)."""
        return ((prompt.latents - latents).square().sum(dim=-1) / prompt.variance).T

    def _compare_tones(self, prompt: PromptFeatures, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How much of a beat's tones each prompt beat lacks, and how much it has beside them, (F, P, n_bands) both;
        and how much there is of them: (F, n_bands). Codes: (F, n_codebooks)."""
        step = codes.shape[0] // SEGMENTS
        new = self.tones(codes[None])[0, ::step]
        difference = prompt.tones[:, ::step].transpose(0, 1) - new[:, None]  # (SEGMENTS, P, notches)
        columns = ((-difference).clamp_min(0.0), difference.clamp_min(0.0), new)
        lacks, has, there = ((0.3 * column @ self.notch_bands).repeat_interleave(step, dim=0) for column in columns)
        return lacks, has, there


def _notch_bands(n_bands: int, samples_per_beat: int) -> Tensor:
    """Which band of `view_levels` each notch of the scale of tones lies in: (n_notches, n_bands), ones and zeros."""
    n_notches = math.ceil(NOTCHES_PER_OCTAVE * math.log2(HIGHEST / LOWEST)) + NOTCHES_WIDE
    hz = LOWEST * 2.0 ** (torch.arange(n_notches) / NOTCHES_PER_OCTAVE) * beats_per_second(REFERENCE_BPM)
    n_fft, rate = 4_096, samples_per_beat * beats_per_second(REFERENCE_BPM)
    filters = mel_filters(n_fft, n_bands, rate, rate / 2.0)
    bins = (hz * n_fft / rate).round().long().clamp(1, n_fft // 2 - 1)
    return torch.nn.functional.one_hot(filters[bins].argmax(dim=1), n_bands).float()


def _frame_features(prompt: PromptFeatures, distances: Tensor, codes: Tensor, position: int, recent: Tensor) -> Tensor:
    """What is known of each prompt beat at a frame, for all bands alike: (F, P, N_FRAME_FEATURES)."""
    n_frames, n_beats = distances.shape
    same = (prompt.codes == codes).float().transpose(0, 1)  # (F, P, n_codebooks)
    beat = distances.mean(dim=0)
    # the beat before came from the source before, if the same lag was right then
    past = [recent[-k].roll(k) for k in range(1, 1 + len(recent))] or [beat]
    lags = position - torch.arange(n_beats, device=distances.device)
    periods = [(lags % period == 0).float() for period in (4, 8, 16, n_beats)]
    columns = [
        distances.sqrt(), _smooth(distances, 1, 0).sqrt(), _smooth(distances, 3, 0).sqrt(), beat.sqrt(), past[0].sqrt(),
        torch.stack(past).mean(dim=0).sqrt(), same[..., :4].mean(dim=-1), same.mean(dim=-1), *periods,
        distances.amin(dim=1, keepdim=True).sqrt(), 0.2 * prompt.variance.log(),
    ]  # fmt: skip
    return torch.stack([column.expand(n_frames, n_beats) for column in columns], dim=-1)


def _band_features(
    prompt: PromptFeatures, gap: Tensor, read: Tensor, lacks: Tensor, has: Tensor, there: Tensor
) -> Tensor:
    """What is known of each prompt beat at a frame and band: (F, P, n_bands, N_BAND_FEATURES)."""
    place = torch.linspace(-1.0, 1.0, gap.shape[2], device=gap.device)
    louder = prompt.heard.transpose(0, 1) - read[:, None]
    columns = [
        gap, _smooth(gap, 2, 0), gap.mean(dim=0, keepdim=True), _smooth(gap, 1, 2), gap.mean(dim=2, keepdim=True),
        louder, louder.abs(), gap.amin(dim=1, keepdim=True), 0.3 * read[:, None] + 0.6, place, place.square(),
        lacks, has, there[:, None], (lacks + has).amin(dim=1, keepdim=True),
    ]  # fmt: skip
    return torch.stack([column.expand(gap.shape) for column in columns], dim=-1)


def _decoder_features(
    prompt: PromptFeatures, gap: Tensor, read: Tensor, distances: Tensor, lacks: Tensor, has: Tensor, there: Tensor
) -> Tensor:
    """What is known of the decoder's own sound at a frame and band: (F, n_bands, N_DECODER_FEATURES)."""
    place = torch.linspace(-1.0, 1.0, read.shape[1], device=read.device)
    misread = prompt.read - prompt.heard
    columns = [
        0.3 * read + 0.6, (read - torch.cat([read[:1], read[:-1]])).abs(), (read - _smooth(read, 1, 1)).abs(), place,
        place.square(), gap.amin(dim=1), distances.amin(dim=1, keepdim=True).sqrt(), 0.2 * prompt.variance.log(),
        misread.mean(dim=(0, 1)), misread.abs().mean(dim=(0, 1)), there, (lacks + has).amin(dim=1),
    ]  # fmt: skip
    return torch.stack([column.expand(read.shape) for column in columns], dim=-1)


def _smooth(values: Tensor, reach: int, dim: int) -> Tensor:
    """Means over `reach` neighbours on either side; at the ends the last value counts again."""
    index = torch.arange(values.shape[dim], device=values.device)
    shifted = [values.index_select(dim, (index + k).clamp(0, values.shape[dim] - 1)) for k in range(-reach, reach + 1)]
    return torch.stack(shifted).mean(dim=0)
