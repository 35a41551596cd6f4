"""What the codec is trained to keep: mel and STFT distances, on a random choice of scales."""

import math

import torch
from torch import Tensor, nn

from melformer.audio.grid import beats_per_second
from melformer.codec.stft import BeatSTFT

REFERENCE_BPM = 120.0
"""Frequencies in the losses are those heard at this tempo; the codec itself knows only cycles per beat."""
HEARD_HZ = 20_000.0
COMPLEX_HZ = 3_000.0
TONE_HZ = 5_000.0
N_LEVEL_BANDS, LEVEL_WEIGHT = 20, 5.0
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


class ToneScale(nn.Module):
    """Distance of spectra over a quarter of a beat, (B, samples) twice → scalar.

    Only a window this long tells a note from its neighbour below 500 Hz; DAC's longest is a third of it. Square roots
    of the magnitudes, since a logarithm would count the noise between the partials as much as them.
    """

    def __init__(self, samples_per_beat: int, sample_rate: float) -> None:
        super().__init__()
        self.n_fft = samples_per_beat // 4
        self.n_bins = int(TONE_HZ * self.n_fft / sample_rate)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, waveform: Tensor, target: Tensor) -> Tensor:
        ours, theirs = self._roots(waveform), self._roots(target)
        return (ours - theirs).abs().mean() / (theirs.mean().detach() + 1e-6)

    def _roots(self, waveform: Tensor) -> Tensor:
        segments = waveform.unfold(-1, self.n_fft, self.n_fft // 4) * self.window
        spectra = torch.view_as_real(torch.fft.rfft(segments)[..., : self.n_bins])
        return (spectra.square().sum(-1) * (2.0 / self.window.sum()) ** 2 + 1e-10).pow(0.25)


class CodecLoss(nn.Module):
    """Reconstruction loss of a codec on its beat grid, seen as audio at `REFERENCE_BPM`.

    Multi-scale mel (a random `n_scales` of DAC's seven each step: all of them cost as much as the network), linear
    and logarithmic STFT magnitude, tones over long windows, and the energy of bands over whole latent frames: a
    mean absolute difference of logarithms alone is least for a median level, which is several dB too soft.

    `complex_weight` adds the complex STFT distance of the lowest `n_complex` bins (below `COMPLEX_HZ`); it is 0,
    since where phases cannot be known it is least for silence.
    """

    def __init__(self, stft: BeatSTFT, stride: int, n_scales: int = 2, mel_weight: float = 15.0) -> None:
        super().__init__()
        sample_rate = stft.samples_per_beat * beats_per_second(REFERENCE_BPM)
        self.stft, self.stride, self.n_scales, self.mel_weight = stft, stride, n_scales, mel_weight
        self.scales = nn.ModuleList(MelScale(*scale, sample_rate) for scale in MEL_SCALES)
        self.tone = ToneScale(stft.samples_per_beat, sample_rate)
        self.n_complex = min(stft.n_bins, int(COMPLEX_HZ * stft.n_fft / sample_rate))
        self.complex_weight = 0.0
        bands = mel_filters(stft.n_fft, N_LEVEL_BANDS, sample_rate, HEARD_HZ)[: stft.n_bins]
        self.register_buffer("bands", bands / bands.sum(dim=0), persistent=False)

    def forward(self, waveform: Tensor, target: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, samples) twice → the parts and their weighted "total" (scalars)."""
        chosen = torch.randperm(len(self.scales), generator=generator)[: self.n_scales].tolist()
        parts = {"mel": sum((self.scales[i](waveform, target) for i in chosen), waveform.new_zeros(()))}
        parts["mel"] = parts["mel"] * (len(self.scales) / self.n_scales)
        ours, theirs = self.stft.frames(waveform), self.stft.frames(target)
        size, true = _modulus(ours), _modulus(theirs)
        parts["linear"] = (size - true).abs().mean() / (true.mean().detach() + 1e-6)
        parts["log"] = ((size + 1e-4).log10() - (true + 1e-4).log10()).abs().mean()
        parts["level"] = (self._levels(size) - self._levels(true)).abs().mean()
        parts["tone"] = self.tone(waveform, target)
        parts["total"] = (
            self.mel_weight * parts["mel"] / len(self.scales)
            + parts["linear"] + parts["log"] + LEVEL_WEIGHT * parts["level"] + 2.0 * parts["tone"]
        )  # fmt: skip
        if self.complex_weight:
            low = true[..., : self.n_complex].mean().detach() + 1e-6
            parts["complex"] = _modulus((ours - theirs)[..., : self.n_complex]).mean() / low
            parts["total"] = parts["total"] + self.complex_weight * parts["complex"]
        return parts

    def _levels(self, size: Tensor) -> Tensor:
        """Log10 power of bands over `stride` frames: (B, T, n_bins) → (B, N_LEVEL_BANDS, T // stride)."""
        power = (size.square() @ self.bands).transpose(1, 2)
        return (nn.functional.avg_pool1d(power, self.stride) + 1e-9).log10()


def _modulus(spectra: Tensor) -> Tensor:
    return torch.view_as_real(spectra).square().sum(-1).add(1e-12).sqrt()
