"""What a fine-tune comes to: its options, its figures, the checkpoint with its card, and two clips to compare."""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from melformer.audio.grid import BeatGrid, seconds_per_beat
from melformer.audio.io import Waveform, write_waveform
from melformer.data.own_loops import OwnLoop
from melformer.errors import RequestError
from melformer.generate import Melformer
from melformer.hub import Bundle, ModelCard, Source, save_bundle
from melformer.hub.parts import POINTER_FILE, SEPARATOR_FILE, TRACKER_FILE, part_file, save_part
from melformer.train.finetune.material import ENGINE_BEATS, Piece
from melformer.train.finetune.task import best_index
from melformer.train.options import TrainOptions
from melformer.transformer.pointer import Pointer

CLIP_BEATS, CLIP_SEED = 16, 7


@dataclass(frozen=True)
class FinetuneOptions:
    """How far a fine-tune goes. It ends at `steps`, after `minutes` of training, or when `patience` validations in a
    row brought nothing; `engine_share` of the batches are composed material.

    Errors: RequestError for a number out of range.
    """

    steps: int = 1_000
    minutes: float = 20.0
    lr: float = 1e-4
    engine_share: float = 0.5
    batch_size: int = 8
    validate_every: int = 25
    patience: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"steps": (1, 10**6), "minutes": (0.01, 10_000), "engine_share": (0, 0.9), "batch_size": (1, 256),
                  "validate_every": (1, 10**6), "patience": (1, 10**6), "seed": (0, 2**62)}  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise RequestError(f"{name} is {getattr(self, name)}; it must be from {low} to {high:,}.")

    @property
    def training(self) -> TrainOptions:
        """The same for the training loop: a constant rate, since nobody knows when it ends, and averaged weights."""
        stretches = -(-self.steps // self.validate_every)  # whole ones, so that a validation ends each
        return TrainOptions(
            steps=stretches * self.validate_every, batch_size=self.batch_size, lr=self.lr, warmup_steps=20,
            decay_fraction=0.0, weight_decay=0.05, beta1=0.9, beta2=0.95, ema_decay=0.98,
            validate_every=self.validate_every, save_every=self.validate_every, seed=self.seed, bf16=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Result:
    """How a fine-tune went."""

    options: FinetuneOptions
    bundle: Bundle
    model: str | None
    history: list[dict[str, float]]
    steps: int
    seconds: float
    reason: str

    @property
    def is_better(self) -> bool:
        """Whether any state had fewer nats on held-out loops than the base, and lost little elsewhere."""
        return len(self.history) > 1 and best_index(self.history) > 0

    @property
    def report(self) -> dict[str, Any]:
        """Figures before and after; `steps` are those of the state that was kept."""
        before, after = self.history[0], self.history[best_index(self.history)]
        return {
            "nats_own_before": before["own"], "nats_own_after": after["own"],
            "nats_engine_before": before["engine"], "nats_engine_after": after["engine"],
            "own_change": round(after["own"] / before["own"] - 1.0, 4),
            "engine_change": round(after["engine"] / before["engine"] - 1.0, 4),
            "steps": best_index(self.history) * self.options.validate_every, "steps_in_all": self.steps,
            "seconds": round(self.seconds), "ended_by": self.reason, "base": self.base, "options": asdict(self.options),
        }  # fmt: skip

    @property
    def base(self) -> str:
        """The base model's name for a card."""
        if self.bundle.revision:
            return f"{str(self.model).partition('@')[0]} at {self.bundle.revision}"
        return self.model or "Melformer base, as the repository embeds it"


def export(out: Path, result: Result, own: Sequence[Piece], n_engine: int, pointer: Pointer, best: Path) -> None:
    """Write the best state as an ordinary bundle, with its card: the base's other parts beside the new pointer."""
    bundle, report = result.bundle, result.report
    hours = sum(piece.seconds for piece in own) / 3600.0
    sources = [Source(f"{len(own)} loops of the person who fine-tuned it", "that person's own", hours)]
    if n_engine:
        engine_hours = n_engine * ENGINE_BEATS * seconds_per_beat(120.0) / 3600.0
        sources.append(Source("Melformer's composition engine, against forgetting", "MIT", engine_hours))
    kinds = {"own": "held-out own loops", "engine": "held-out passages of the engine"}
    figures = {
        f"nats a half beat, {text}, {when}": report[f"nats_{kind}_{when}"]
        for kind, text in kinds.items() for when in ("before", "after")
    }  # fmt: skip
    card = ModelCard(
        name=out.resolve().name, sources=sources,
        n_parameters={"pointer": sum(p.numel() for p in pointer.parameters())},
        steps={"pointer": report["steps"]}, compute={"pointer": f"{result.seconds / 60.0:.1f} min"}, evaluation=figures,
        machine=f"{platform.machine()}, 1 thread", command="melformer finetune", base_model=result.base,
        licence="other",
    )  # fmt: skip
    tuned = Pointer(pointer.config)
    tuned.load_state_dict(load_file(best))
    save_bundle(out, bundle.config, bundle.tensors, card.render())
    for file in (SEPARATOR_FILE, TRACKER_FILE):
        shutil.copyfile(part_file(bundle.path, file), out / file)
    save_part(out / POINTER_FILE, tuned)


def write_clips(out: Path, base: Bundle, sound: Waveform, loop: OwnLoop) -> None:
    """Continue a held-out loop with the base and with the fine-tuned checkpoint, same seed: before.wav, after.wav."""
    grid = BeatGrid(loop.bpm, sound.sample_rate)
    prompt = sound.slice(0, grid.edge(min(CLIP_BEATS, int(grid.beats_in(sound.n_samples)))))
    for name, folder in (("before", base.path), ("after", out)):
        model = Melformer.from_pretrained(folder)
        ready = model.prompt(prompt, bpm=loop.bpm, start_s=0.0, beats_per_bar=loop.beats_per_bar)
        made = model.generate(ready, CLIP_BEATS, seed=CLIP_SEED)
        write_waveform(out / f"{name}.wav", made.waveform, bpm=loop.bpm, encoding="pcm24")
