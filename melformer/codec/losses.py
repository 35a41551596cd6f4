"""What the codec is trained to keep: mel and STFT distances, on a random choice of scales."""

import math

import torch
from torch import Tensor, nn

from melformer.codec.stft import BeatSTFT

REFERENCE_BPM = 120.0
"""Frequencies in the losses are those heard at this tempo; the codec itself knows only cycles per beat."""
HEARD_HZ = 20_000.0
COMPLEX_HZ = 3_000.0
MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1_024, 160), (2_048, 320))
"""Window lengths and mel bands of the multi-scale mel distance of DAC (Kumar et al. 2023)."""


def mel_filters(n_fft: int, n_mels: int, sample_rate: float, f_max: float) -> Tensor:
    """Triangular filters of equal area on Slaney's mel scale (linear below 1 kHz): (n_fft // 2 + 1, n_mels)."""
    step = math.log(6.4) / 27.0

    def to_mel(hz: float) -> float:
        return hz * 3.0 / 200.0 if hz < 1_000.0 else 15.0 + math.log(hz / 1_000.0) / step

    mels = torch.linspace(0.0, to_mel(f_max), n_mels + 2, dtype=torch.float64)
    edges = torch.where(mels < 15.0, mels * 200.0 / 3.0, 1_000.0 * torch.exp(step * (mels - 15.0)))
    hz = torch.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0.0) * (2.0 / (edges[2:] - edges[:-2]))
    return filters.float()


class MelScale(nn.Module):
    """Mean absolute difference of log10-mel spectra at one window length: (B, samples) twice → scalar."""

    def __init__(self, n_fft: int, n_mels: int, sample_rate: float) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, n_fft // 4
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", mel_filters(n_fft, n_mels, sample_rate, HEARD_HZ), persistent=False)

    def forward(self, waveform: Tensor, target: Tensor) -> Tensor:
        return (self._log_mel(waveform) - self._log_mel(target)).abs().mean()

    def _log_mel(self, waveform: Tensor) -> Tensor:
        spectra = torch.fft.rfft(waveform.unfold(-1, self.n_fft, self.hop_length) * self.window)
        magnitude = torch.view_as_real(spectra).square().sum(-1).add(1e-12).sqrt()
        return (magnitude @ self.filters).clamp_min(1e-5).log10()


class CodecLoss(nn.Module):
    """Reconstruction loss of a codec on its work grid, seen as audio at `REFERENCE_BPM`.

    Multi-scale mel (a random `n_scales` of DAC's seven each step: all of them cost as much as the network),
    linear and logarithmic STFT magnitude, and a complex STFT distance below `COMPLEX_HZ`, since a phase that
    cannot be predicted higher up would only make the sound dull.
    """

    def __init__(self, stft: BeatSTFT, n_scales: int = 2, mel_weight: float = 15.0) -> None:
        super().__init__()
        sample_rate = stft.samples_per_beat * REFERENCE_BPM / 60.0
        self.stft, self.n_scales, self.mel_weight = stft, n_scales, mel_weight
        self.scales = nn.ModuleList(MelScale(*scale, sample_rate) for scale in MEL_SCALES)
        self.n_complex = min(stft.n_bins, int(COMPLEX_HZ * stft.n_fft / sample_rate))

    def forward(self, waveform: Tensor, target: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, samples) twice → the parts and their weighted "total" (scalars)."""
        chosen = torch.randperm(len(self.scales), generator=generator)[: self.n_scales].tolist()
        parts = {"mel": sum((self.scales[i](waveform, target) for i in chosen), waveform.new_zeros(()))}
        parts["mel"] = parts["mel"] * (len(self.scales) / self.n_scales)
        ours, theirs = self.stft.frames(waveform), self.stft.frames(target)
        level = theirs.abs().mean().detach() + 1e-6
        parts["linear"] = (ours.abs() - theirs.abs()).abs().mean() / level
        parts["log"] = ((ours.abs() + 1e-4).log10() - (theirs.abs() + 1e-4).log10()).abs().mean()
        low = theirs[..., : self.n_complex].abs().mean().detach() + 1e-6
        difference = torch.view_as_real(ours - theirs)[..., : self.n_complex, :]
        parts["complex"] = difference.square().sum(-1).add(1e-12).sqrt().mean() / low
        parts["total"] = (
            self.mel_weight * parts["mel"] / len(self.scales) + parts["linear"] + parts["log"] + 2.0 * parts["complex"]
        )
        return parts
