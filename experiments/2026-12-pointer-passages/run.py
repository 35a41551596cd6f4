"""Train the pointer further on passages that are composed for it; see README.md."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from melformer.corpus import compose, render_stems
from melformer.corpus.build import allowed_styles, passage_seed
from melformer.corpus.midi import MidiFolder
from melformer.corpus.notes import passage_notes
from melformer.data.unit_dataset import UnitClip, unit_clip
from melformer.errors import MelformerError
from melformer.hub.parts import load_pointer, load_separator
from melformer.hub.remote import EMBEDDED
from melformer.stems import Stems
from melformer.train.options import OPTIONS
from melformer.train.tasks.pointer import PointerTask
from melformer.train.trainer import Trainer

SEED, MIDI_EVERY, LENGTHS = 2026120101, 4, (48, 64, 64, 80)


def make_units(folder: Path, midi: Path, n_passages: int) -> None:
    """Passages as units, one file each; those that are there are kept."""
    files, names, separator = MidiFolder(midi, SEED), allowed_styles(None), load_separator(EMBEDDED)
    folder.mkdir(parents=True, exist_ok=True)
    for i in tqdm(range(n_passages), unit="passage"):
        path, own = folder / f"u{i:05d}.npz", passage_seed(SEED, i)
        if path.exists():
            continue
        n_beats = int(np.random.default_rng(own).choice(LENGTHS))
        try:
            of_midi = i % MIDI_EVERY == MIDI_EVERY - 1
            passage = files.passage(i, own, None) if of_midi else compose(own, names[own % len(names)], n_beats=n_beats)
        except MelformerError as error:
            print(f"passage {i}: {error}")
            continue
        stems, notes = Stems(**render_stems(passage)[1]), passage_notes(passage)
        clip = unit_clip(stems, notes, passage.bpm, passage.n_beats, passage.beats_per_bar, separator)
        if clip is not None:
            clip.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("midi", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--passages", type=int, default=1_270)
    parser.add_argument("--steps", type=int, default=3_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    make_units(options.out / "units", options.midi, options.passages)
    clips = [UnitClip.load(path) for path in sorted((options.out / "units").glob("u*.npz"))]
    training = replace(
        OPTIONS[("pointer", "base")], steps=options.steps, lr=6e-4, warmup_steps=50, decay_fraction=0.6,
        validate_every=250, save_every=250, ema_decay=0.998,
    )  # fmt: skip
    shipped = load_pointer(EMBEDDED)
    task = PointerTask(clips, training, shipped.config)
    task.module.load_state_dict(shipped.state_dict())
    trainer = Trainer(task, training, options.out / "run")
    if (options.out / "run" / "state.pt").exists():
        trainer.resume()
    trainer.fit()


if __name__ == "__main__":
    main()
