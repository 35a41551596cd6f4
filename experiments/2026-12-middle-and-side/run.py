"""What masks of their own for middle and side can reach, and a separator trained with them; see README.md."""

import argparse
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from melformer.audio.grid import seconds_per_beat
from melformer.corpus import compose, render_stems
from melformer.corpus.build import allowed_styles, passage_seed
from melformer.corpus.midi import MidiFolder
from melformer.corpus.passage import Passage
from melformer.stems.features import pool, to_bins
from melformer.stems.grid_stft import frame_centres, stft, window_length
from melformer.stems.separator import SEPARATORS
from melformer.stems.stems import STEMS
from melformer.train.options import OPTIONS
from melformer.train.tasks.separator import LOUD, SeparatorTask, StemClip
from melformer.train.trainer import Trainer

SEED, DEV_SEED, RATE = 2026120177, 77012, 44_100
N_BEATS, MOST_BEATS, DEV_BEATS = 48, 64, 32


def is_held_out(file: Path) -> bool:
    """Whether nothing is learned from a MIDI file: all arrangements of one tune are, or none."""
    return zlib.crc32(file.stem.split("_")[-1].encode()) % 8 == 0


def passages(midi: Path, seed: int, n: int, learned: bool) -> Iterator[tuple[str, Passage]]:
    """Passages of the engine and, two of five, of MIDI files that are learned from, or held out; and their names."""
    files, names = MidiFolder(midi, seed), allowed_styles(None)
    files.files = [file for file in files.files if is_held_out(file) != learned]
    for i in range(n):
        own = passage_seed(seed, i)
        if i % 5 in (1, 3):
            yield f"m{i:05d}", files.passage(i, own, None)
        else:
            yield f"e{i:05d}", compose(own, names[own % len(names)], n_beats=N_BEATS)


def stems_of(passage: Passage, most_beats: int) -> np.ndarray:
    """Middle and side of each stem: float32 (3, 2, samples)."""
    stems, n = render_stems(passage)[1], round(most_beats * seconds_per_beat(passage.bpm) * RATE)
    left, right = (np.stack([stems[name].samples[:n, c] for name in STEMS]) for c in (0, 1))
    return np.stack([(left + right) / 2, (left - right) / 2], axis=1)


def improvement(masks: Tensor, stems: Tensor) -> np.ndarray:
    """(3,) dB over the mix, NaN for a stem 40 dB under it: masks of bins and spectra (3, 2, frames, bins)."""
    mix = stems.sum(dim=0, keepdim=True)
    errors, given, own, whole = (
        x.abs().square().sum((1, 2, 3)) for x in (masks * mix - stems, mix - stems, stems, mix)
    )
    return torch.where(own > 1e-4 * whole, 10 * torch.log10(given / errors), torch.nan).numpy()


def best_masks(midi: Path, n: int) -> None:
    """Print what ratios of the true powers reach: one mask a stem, and masks of middle and side."""
    found: dict[str, list[np.ndarray]] = {}
    for name, passage in passages(midi, DEV_SEED, n, learned=False):
        sound = torch.from_numpy(stems_of(passage, DEV_BEATS))
        centres = torch.from_numpy(frame_centres(sound.shape[-1], RATE, passage.bpm))
        spectra = stft(sound.flatten(0, 1), centres, window_length(RATE)).unflatten(0, (3, 2))
        power = pool(spectra).square()
        for kind, given in (("one", power[:, :1]), ("two", power)):
            masks = to_bins(given / given.sum(dim=0, keepdim=True).clamp(min=1e-12), spectra.shape[-1])
            found.setdefault(f"{kind} {name[0]}", []).append(improvement(masks, spectra))
    for kind, rows in found.items():
        print(kind, np.nanmedian(rows, axis=0).round(1))


def train(midi: Path, out: Path, n: int, steps: int, init: Path | None) -> None:
    """Compose material and train, or go on."""
    clips = []
    (out / "stems").mkdir(parents=True, exist_ok=True)
    for name, passage in tqdm(passages(midi, SEED, n, learned=True), total=n, unit="passage"):
        path = out / "stems" / f"{name}.npy"
        if not path.exists():
            np.save(path, np.rint(np.clip(stems_of(passage, MOST_BEATS), -1, 1) * LOUD).astype(np.int16))
        clips.append(StemClip(np.load(path, mmap_mode="r"), RATE, passage.bpm))
    schedule = {"decay_fraction": 0.4, "ema_decay": 0.998, "validate_every": 500, "save_every": 250}
    options = replace(OPTIONS["separator", "base"], steps=steps, **schedule)
    task = SeparatorTask(clips, options, SEPARATORS["base"])
    if init is not None:  # weights of one mask a stem: both begin with it
        given = {key: t.float() for key, t in load_file(init).items()}
        twice = {key: t.repeat_interleave(2, dim=0) for key, t in given.items() if key.startswith("head.")}
        task.module.load_state_dict(given | twice)
    trainer = Trainer(task, options, out / "run")
    if (out / "run" / "state.pt").exists():
        trainer.resume()
    trainer.fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("midi", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--passages", type=int, default=640)
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--init", type=Path, help="separator.safetensors with one mask a stem")
    options = parser.parse_args()
    torch.set_num_threads(1)
    best_masks(options.midi, 16)
    train(options.midi, options.out, options.passages, options.steps, options.init)


if __name__ == "__main__":
    main()
