"""Short-time Fourier analysis of single beats, and streaming overlap-add synthesis."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BeatSTFT(nn.Module):
    """STFT on a beat grid: `frames_per_beat` frames, centred in their hops, `n_bins` bins kept.

    `torch.istft` would not do: it wants the whole signal and trims its edges, where a stream carries the unfinished
    overlap from beat to beat.
    """

    window: Tensor
    late_window: Tensor
    turns: Tensor

    def __init__(self, samples_per_beat: int, frames_per_beat: int, n_fft: int, n_bins: int) -> None:
        super().__init__()
        if samples_per_beat % frames_per_beat or n_fft % (samples_per_beat // frames_per_beat):
            raise ValueError(f"{frames_per_beat} frames and n_fft {n_fft} do not divide a beat exactly")
        self.samples_per_beat, self.frames_per_beat = samples_per_beat, frames_per_beat
        self.n_fft, self.n_bins = n_fft, n_bins
        self.hop_length = samples_per_beat // frames_per_beat
        self.overlap = n_fft // self.hop_length
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        place = (2.0 * torch.arange(n_fft) / n_fft - 1.0).float()
        self.register_buffer("late_window", self.window * place, persistent=False)
        turns = torch.arange(self.overlap)[:, None] * torch.arange(n_bins) / self.overlap
        rotations = torch.polar(torch.ones_like(turns), 2.0 * torch.pi * turns)
        self.register_buffer("turns", torch.view_as_real(rotations), persistent=False)  # gloo sends no complex numbers

    @property
    def delay_frames(self) -> int:
        """Frames that must follow a hop of samples before it is complete."""
        return self.overlap // 2

    def analyse(self, beats: Tensor, late: bool = False) -> Tensor:
        """Each beat alone, its edges reflected: (B, samples_per_beat) → complex (B, frames_per_beat, n_bins).

        `late` weighs each sample by its place in the window, −1 to 1: over the plain spectrum, how late a bin sounds.
        """
        padding = (self.n_fft - self.hop_length) // 2
        return self.frames(F.pad(beats[:, None], (padding, padding), mode="reflect")[:, 0], late)

    def advance(self, first: int, n_frames: int) -> Tensor:
        """How far each bin's own frequency has turned at frames `first` …: complex (n_frames, n_bins), modulus 1.

        A steady tone's phase leaps from frame to frame; divided by this, it drifts slowly, which a network can say.
        """
        place = (first + torch.arange(n_frames, device=self.turns.device)) % self.overlap
        return torch.view_as_complex(self.turns)[place]

    def frames(self, padded: Tensor, late: bool = False) -> Tensor:
        """Windowed spectra of every hop: (B, T·hop + n_fft − hop) → complex (B, T, n_bins), unit full-scale sine."""
        segments = padded.unfold(-1, self.n_fft, self.hop_length) * (self.late_window if late else self.window)
        return torch.fft.rfft(segments)[..., : self.n_bins] * (2.0 / self.window.sum())

    def segments(self, spectra: Tensor) -> Tensor:
        """Windowed waves of each frame: complex (B, T, n_bins) → (B, T, overlap, hop_length)."""
        waves = torch.fft.irfft(spectra * (self.window.sum() / 2.0), n=self.n_fft) * self.window
        # sum of squared periodic Hann windows at this overlap
        return waves.unflatten(-1, (self.overlap, self.hop_length)) * (8.0 / (3.0 * self.overlap))

    def overlap_add(self, segments: Tensor, carry: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Add frames where they overlap: (B, T, overlap, hop) → samples (B, T·hop) and the carry (B, overlap−1, hop).

        Output sample 0 belongs `delay_frames` hops before frame 0's own hop: a stream is late by that much.
        """
        batch, n_frames = segments.shape[:2]
        total = segments.new_zeros(batch, n_frames + self.overlap - 1, self.hop_length)
        if carry is not None:
            total[:, : self.overlap - 1] += carry
        for j in range(self.overlap):
            total[:, j : j + n_frames] += segments[:, :, j]
        return total[:, :n_frames].flatten(1), total[:, n_frames:]
