"""Teach the separator: stems of composed passages, mixed anew for every step."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import torch
from numpy.lib.format import open_memmap
from torch import Tensor, nn
from tqdm import tqdm

from melformer.audio.grid import BeatGrid
from melformer.audio.io import read_waveform
from melformer.audio.waveform import Waveform
from melformer.data.beat_dataset import find_clips
from melformer.errors import RequestError
from melformer.files import atomic_path
from melformer.hub.parts import SEPARATOR_FILE, save_part
from melformer.stems.features import features, pool, to_bins
from melformer.stems.grid_stft import FRAMES_PER_BEAT, window_length
from melformer.stems.separator import Separator, SeparatorConfig
from melformer.stems.stems import STEMS
from melformer.train.options import TrainOptions

CROP_BEATS = 16
HELD_OUT_EVERY = 20
LOUD = 32_767.0
LOSS_BINS = 513
"""Complex spectra are compared up to 5.5 kHz, where nearly all of the energy is; bands up to the top."""


@dataclass(frozen=True)
class StemClip:
    """A passage's stems in 16 bits: (3, 2, samples), middle and side of each; memory-mapped."""

    samples: np.ndarray
    sample_rate: int
    bpm: float

    @property
    def n_beats(self) -> int:
        """Whole model beats."""
        return max(1, round(self.samples.shape[2] / self.samples_per_beat))

    @property
    def samples_per_beat(self) -> float:
        """Samples in a model beat."""
        return float(BeatGrid(self.bpm, self.sample_rate).samples_per_model_beat)

    def frames(self, stem: int, start: int, n_beats: int, n_fft: int) -> np.ndarray:
        """Windows on the beat grid from beat `start` on, played round as a loop: float32 (2, frames, n_fft)."""
        hop = self.samples_per_beat / FRAMES_PER_BEAT
        centres = np.rint((start * FRAMES_PER_BEAT + np.arange(n_beats * FRAMES_PER_BEAT)) * hop).astype(np.int64)
        places = (centres[:, None] + np.arange(-(n_fft // 2), n_fft - n_fft // 2)) % self.samples.shape[2]
        return self.samples[stem][:, places].astype(np.float32) / LOUD


def gather(folders: list[Path], cache: Path) -> list[StemClip]:
    """The passages of folders that `melformer corpus build --stems` wrote, as 16-bit arrays in `cache`.

    Errors: RequestError when none has stems beside it.
    """
    found = []
    cache.mkdir(parents=True, exist_ok=True)
    clips = [clip for folder in folders for clip in find_clips(folder) if _stem_files(clip.path)]
    for clip in tqdm(clips, desc="stems", unit="passage"):
        path = cache / f"{clip.path.parent.name}_{clip.path.stem}.npy"
        if not path.exists():
            waveforms = [read_waveform(file) for file in _stem_files(clip.path)]
            sides = [_middle_and_side(waveform) for waveform in waveforms]
            with atomic_path(path) as temporary:
                stored = open_memmap(temporary, "w+", np.int16, (len(STEMS), *sides[0].shape))
                stored[:] = np.rint(np.clip(np.stack(sides), -1, 1) * LOUD).astype(np.int16)
                stored.flush()
        found.append(StemClip(np.load(path, mmap_mode="r"), 44_100, float(clip.bpm)))
    if not found:
        raise RequestError(
            f"{folders[0]} holds no stems; `melformer corpus build --stems` writes them beside its mixes."
        )
    return found


def _stem_files(mix: Path) -> list[Path]:
    files = [mix.with_suffix("") / f"{name}.flac" for name in STEMS]
    return files if all(file.is_file() for file in files) else []


def _middle_and_side(waveform: Waveform) -> np.ndarray:
    left, right = waveform.samples[:, 0], waveform.samples[:, -1]
    return np.stack([(left + right) / 2, (left - right) / 2])


def draw_mix(clips: list[StemClip], rng: np.random.Generator) -> np.ndarray:
    """Stems of a mix on the beat grid: spectra of their middles and sides, complex64 (3, 2, frames, n_bins) at the bins
    of 44.1 kHz.

    Stems come from one passage or, in two fifths, from several, whose beats then fall together. Windows that are not
    93 ms long transpose by up to three semitones. Levels, tone, width and silence of stems are drawn.
    """
    together = rng.random() < 0.6
    n_bins = window_length(44_100) // 2 + 1
    widths = np.zeros(3) if rng.random() < 0.2 else rng.choice([1.0, 1.0, 0.0, 1.6], 3) * rng.choice([-1.0, 1.0], 3)
    clip = clips[rng.integers(len(clips))]
    beat, speed = int(rng.integers(clip.n_beats)), 2 ** rng.uniform(-0.25, 0.25)
    stems = np.zeros((len(STEMS), 2, CROP_BEATS * FRAMES_PER_BEAT, n_bins), np.complex64)
    for stem, width in enumerate(widths.astype(np.float32)):
        if not together:
            clip = clips[rng.integers(len(clips))]
            beat, speed = int(rng.integers(clip.n_beats)), 2 ** rng.uniform(-0.25, 0.25)
        n_fft = 2 * round(window_length(clip.sample_rate) * speed / 2)
        window = np.hanning(n_fft + 1)[:-1].astype(np.float32) / np.float32(speed)
        gain = _gain(rng, together)
        if not gain.any():
            continue
        windows = clip.frames(stem, beat, CROP_BEATS, n_fft) * window
        stems[stem, 0] = _fitted(scipy.fft.rfft(windows[0]), n_bins) * gain
        if width and windows[1].any():
            stems[stem, 1] = _fitted(scipy.fft.rfft(windows[1] * width), n_bins) * gain
    return stems


def _fitted(spectra: np.ndarray, n_bins: int) -> np.ndarray:
    if spectra.shape[-1] >= n_bins:
        return spectra[..., :n_bins]
    return np.pad(spectra, ((0, 0), (0, n_bins - spectra.shape[-1])))


def _gain(rng: np.random.Generator, together: bool) -> np.ndarray:
    """Level and tone of a stem, (n_bins,), or silence."""
    if rng.random() < (0.05 if together else 0.12):
        return np.zeros(1, np.float32)
    spread = 4.0 if together else 7.0
    knots = rng.normal(0.0, 3.0, 6) * (rng.random() < 0.5)
    n_bins = window_length(44_100) // 2 + 1
    tone = np.interp(np.log2(np.arange(n_bins) + 4.0), np.linspace(2.0, 11.0, 6), knots)
    return (10 ** ((rng.uniform(-spread, spread) + tone) / 20)).astype(np.float32)


class SeparatorTask:
    """The separator's loss, validation and way out; see `melformer.train.trainer.Task`."""

    def __init__(self, clips: list[StemClip], options: TrainOptions, config: SeparatorConfig) -> None:
        torch.manual_seed(options.seed)
        self.module = Separator(config)
        self.options = options
        self.sources: list[tuple[str, str]] = []
        self.held_out = clips[::HELD_OUT_EVERY] if len(clips) >= HELD_OUT_EVERY else clips
        self.train_set = [c for i, c in enumerate(clips) if i % HELD_OUT_EVERY] or clips

    def _batch(self, clips: list[StemClip], rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Stems' spectra (B, 3, 2, frames, n_bins), middle and side; bands (B, 2, frames, N_BANDS) of their mix."""
        stems = torch.from_numpy(np.stack([draw_mix(clips, rng) for _ in range(n)]))
        return stems, pool(stems.sum(dim=1))

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        """What the masks leave of each stem: complex spectra, square-rooted bands, and decibels of the error."""
        stems, mix = self._batch(self.train_set, rng, self.options.batch_size)
        return _losses(stems, mix, model(features(mix[:, 0], mix[:, 1])))

    def after_step(self, step: int) -> list[str]:
        return []

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """SDR improvement of each stem on fixed mixes of held-out passages, in dB: medians."""
        rng, found = np.random.default_rng(1), []
        for _ in range(24):
            stems, mix = self._batch(self.held_out, rng, 1)
            found.append(_improvement(stems, self.module(features(mix[:, 0], mix[:, 1])))[0].numpy())
        return {name: round(float(v), 2) for name, v in zip(STEMS, np.nanmedian(np.array(found), axis=0))}

    def clips(self) -> dict[str, Waveform]:
        return {}

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """Write `separator.safetensors`, which may stand beside any model, and `separator.json`, how it came about."""
        save_part(directory / SEPARATOR_FILE, self.module)
        facts = {**record, "sources": self.sources, "n_passages": len(self.train_set)}
        (directory / "separator.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _losses(stems: Tensor, bands: Tensor, masks: Tensor) -> dict[str, Tensor]:
    scale = bands[:, 0].square().mean(dim=(1, 2)).sqrt().clamp(min=1e-6)[:, None, None, None, None]
    low = stems[..., :LOSS_BINS] / scale
    mix = low.sum(dim=1, keepdim=True)
    power = _power(to_bins(masks, LOSS_BINS) * mix - low)
    complex_l1 = (power + 1e-8).sqrt().mean()
    band_l1 = ((masks * bands[:, None] / scale + 1e-6).sqrt() - (pool(stems) / scale + 1e-6).sqrt()).abs().mean()
    whole = _power(mix).sum(dim=(2, 3, 4))
    decibels = (10 * torch.log10(power.sum(dim=(2, 3, 4)) / whole.clamp(min=1e-9) + 1e-3)).mean()
    total = complex_l1 + 4.0 * band_l1 + 0.02 * decibels
    return {"total": total, "complex": complex_l1, "bands": band_l1, "error_db": decibels}


def _improvement(stems: Tensor, masks: Tensor) -> Tensor:
    """(B, 3) dB by which the error of the masked mix lies under that of the mix itself; NaN for stems under -40 dB."""
    mix = stems.sum(dim=1, keepdim=True)
    left = to_bins(masks, stems.shape[-1]) * mix - stems
    errors, given, own, whole = (_power(part).sum(dim=(2, 3, 4)) for part in (left, mix - stems, stems, mix))
    gain = 10 * torch.log10(given / errors.clamp(min=1e-9))
    return torch.where(own > 1e-4 * whole, gain, torch.nan)


def _power(spectra: Tensor) -> Tensor:
    return spectra.real.square() + spectra.imag.square()
