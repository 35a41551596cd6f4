"""Teach the beat tracker: its network first, then the decoder that reads what the network sees."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from melformer.audio.tempo.beat_network import Weights
from melformer.audio.tempo.tracker_weights import TRACKER_FILE
from melformer.audio.waveform import Waveform
from melformer.corpus.midi import MidiFolder
from melformer.files import write_tensors
from melformer.train.options import TrainOptions
from melformer.train.tempo.decoder_fit import DecoderExample, decoder_example, fit_decoder
from melformer.train.tempo.tempo_batches import draw_batch, plain_batch
from melformer.train.tempo.tempo_material import (
    CALIBRATION_STYLES,
    FEW_SHARE,
    SAMPLE_RATE,
    examples,
    load_examples,
    midi_examples,
    training_styles,
    write_examples,
)
from melformer.train.tempo.tempo_network import TempoNetwork, TempoNetworkConfig

PASSAGES = {"base": 3_000, "tiny": 6, "large": 12_000}
DECODER_STEPS = {"base": 2_500, "tiny": 20, "large": 2_500}
_GROUP = 4  # clips of one passage, or of two: they are learned from, or none of them is
_HELD_OUT_EVERY, _CALIBRATION_EVERY = 25, 3
_MIDI_HELD_EVERY, _MIDI_SEED = 4, 7
T = TypeVar("T")


def compose_material(folder: Path, n_passages: int, midi: str | None) -> None:
    """Write what network and decoder learn from; what is there already stays.

    The decoder learns from bands and single players in styles that the network knows and in others, and mostly from
    MIDI files that it does not know. Errors: MidiError where no MIDI file can be used.
    """
    known = training_styles()

    def write(
        part: str, seed: int, share: float, styles: Sequence[str], n_each: int = 1, few: float = FEW_SHARE,
        clean: bool = False,
    ) -> None:  # fmt: skip
        make = partial(examples, seed, styles=styles, n_each=n_each, few=few, clean=clean)
        write_examples(folder / part, seed, max(1, round(share * n_passages)), make, part == "decoder")

    write("network", 28, 1.0, known)
    write("decoder", 290, 0.1, CALIBRATION_STYLES)
    write("decoder", 291, 0.067, known)
    write("decoder", 292, 0.033, CALIBRATION_STYLES, n_each=2)
    write("decoder", 294, 0.025, CALIBRATION_STYLES, n_each=2, few=1.0)
    write("decoder", 295, 0.017, known, n_each=2, few=1.0)
    write("decoder", 304, 0.05, CALIBRATION_STYLES, n_each=2, few=0.15, clean=True)
    write("decoder", 305, 0.05, known, n_each=2, few=0.15, clean=True)
    if midi is None:
        return
    learned, held = split_midi(midi)
    for part, seed, share, files, n_each, clean in (
        ("network", 40, 1.0, learned, 2, False), ("decoder", 296, 0.16, held, 2, False),
        ("decoder", 297, 0.064, learned, 2, False), ("decoder", 306, 0.048, held, 2, True),
        ("decoder", 307, 0.048, learned, 2, True),
    ):  # fmt: skip
        make = partial(midi_examples, files, seed, n_each=n_each, clean=clean)
        write_examples(folder / part, seed, max(1, round(share * n_passages)), make, part == "decoder")


def split_midi(midi: str) -> tuple[MidiFolder, MidiFolder]:
    """Files that the network may learn from, and every fourth, which it may not. Errors: MidiError."""
    learned, held = MidiFolder(midi, _MIDI_SEED), MidiFolder(midi, _MIDI_SEED)
    held.files = learned.files[::_MIDI_HELD_EVERY]
    learned.files = [file for file in learned.files if file not in held.files] or held.files
    return learned, held


class TempoTask:
    """The network's loss, validation and way out, with the decoder; see `melformer.train.trainer.Task`."""

    def __init__(
        self, folder: Path, options: TrainOptions, config: TempoNetworkConfig, decoder_steps: int, facts: dict[str, Any]
    ) -> None:
        torch.manual_seed(options.seed)
        self.module = TempoNetwork(config)
        self.folder, self.options, self.decoder_steps, self.facts = folder, options, decoder_steps, facts
        items = [(bands, grid) for bands, grid in load_examples(sorted((folder / "network").glob("*.npz")))]
        self.train_set, self.held_out = _split(items, _HELD_OUT_EVERY)

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        return _losses(model, draw_batch(self.train_set, self.options.batch_size, rng))

    def after_step(self, step: int) -> list[str]:
        return []

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The losses on held-out clips as they are."""
        parts = [self.held_out[i : i + 16] for i in range(0, min(256, len(self.held_out)), 16)]
        rows = [_losses(self.module, plain_batch(part)) for part in parts]
        return {name: round(float(np.mean([float(row[name]) for row in rows])), 4) for name in rows[0]}

    def clips(self) -> dict[str, Waveform]:
        return {}

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """Write `tracker.json`, how it came about, and at the end of the run `tracker.safetensors`, for which the
        decoder is fitted: it may stand beside any model."""
        facts = {**record, **self.facts, "sizes": asdict(self.module.config), "n_clips": len(self.train_set)}
        (directory / "tracker.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if record["steps"] < self.options.steps:
            return
        network = {name: value.astype(np.float16).astype(np.float32) for name, value in self.module.arrays().items()}
        fit, held = _split(_decoder_examples(self.folder / "decoder", network), _CALIBRATION_EVERY)
        tensors = network | fit_decoder(fit, held, self.decoder_steps, seed=self.options.seed)
        halves = {name: torch.from_numpy(np.ascontiguousarray(value)).half() for name, value in tensors.items()}
        write_tensors(directory / TRACKER_FILE, halves, {"format": "pt"})


def _split(items: Sequence[T], every: int) -> tuple[list[T], list[T]]:
    """All but every n-th group of clips, and these; all of them both times where there are too few."""
    held = [item for i, item in enumerate(items) if i // _GROUP % every == every - 1]
    others = [item for i, item in enumerate(items) if i // _GROUP % every != every - 1]
    return others, held or list(items)


def _losses(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Nats a frame of beats, downbeats and music; nats a clip of tempo and metre."""
    frames, tempo, metre = model(batch["bands"], batch["mask"])
    each = F.binary_cross_entropy_with_logits(frames, batch["frames"], reduction="none")
    beat, downbeat, music = (each * batch["mask"]).sum((0, 2)) / batch["mask"].sum()
    clip = {"tempo": F.cross_entropy(tempo, batch["tempo"]), "metre": F.cross_entropy(metre, batch["metre"])}
    total = 5.0 * beat + 5.0 * downbeat + 0.5 * music + 0.15 * (clip["tempo"] + clip["metre"])
    return {"total": total, "beat": beat, "downbeat": downbeat, "music": music, **clip}


def _decoder_examples(folder: Path, network: Weights) -> list[DecoderExample]:
    found = []
    for samples, grid in tqdm(load_examples(sorted(folder.glob("*.npz"))), desc="decoder", unit="clip"):
        waveform = Waveform(samples.astype(np.float32)[:, None] / 32_767.0, SAMPLE_RATE)
        if waveform.samples.any():
            found.append(decoder_example(waveform, grid, network))
    return found
