"""What a fine-tune comes to: its options, its figures, the checkpoint with its card, and two clips to compare."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from melformer.audio.grid import BeatGrid, seconds_per_beat
from melformer.audio.io import Waveform, write_waveform
from melformer.data.own_loops import OwnLoop
from melformer.errors import RequestError
from melformer.generate import Melformer
from melformer.generate.mixes.continue_mix import continue_mix
from melformer.hub import Bundle, ModelCard, Source, save_bundle
from melformer.hub.bundle import half_precision
from melformer.train.finetune.task import CodedLoop, best_index
from melformer.train.options import TrainOptions

CLIP_BEATS, CLIP_SEED = 16, 7


@dataclass(frozen=True)
class FinetuneOptions:
    """How far a fine-tune goes. It ends at `steps`, after `minutes` of training, or when `patience` validations in a
    row brought nothing; `lora` is a rank, 0 trains all weights; `engine_share` of each batch is composed material. The
    codec's decoder is trained after that, for `decoder_steps`.

    Errors: RequestError for a number out of range.
    """

    steps: int = 1_000
    minutes: float = 20.0
    lora: int = 0
    lr: float | None = None
    engine_share: float = 0.5
    batch_size: int = 4
    validate_every: int = 50
    patience: int = 4
    seed: int = 0
    decoder_steps: int = 0

    def __post_init__(self) -> None:
        limits = {"steps": (1, 10**6), "minutes": (0.01, 10_000), "lora": (0, 256), "engine_share": (0, 0.9),
                  "batch_size": (1, 256), "validate_every": (1, 10**6), "patience": (1, 10**6),
                  "seed": (0, 2**62), "decoder_steps": (0, 10**6)}  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise RequestError(f"{name} is {getattr(self, name)}; it must be from {low} to {high:,}.")

    @property
    def training(self) -> TrainOptions:
        """The same for the training loop: a constant rate, since nobody knows when it ends, and averaged weights."""
        stretches = -(-self.steps // self.validate_every)  # whole ones, so that a validation ends each
        lr = self.lr if self.lr is not None else (2e-3 if self.lora else 2e-4)
        return TrainOptions(
            steps=stretches * self.validate_every, batch_size=self.batch_size, lr=lr, warmup_steps=20,
            decay_fraction=0.0, weight_decay=0.05, beta1=0.9, beta2=0.95, ema_decay=0.98,
            validate_every=self.validate_every, save_every=self.validate_every, seed=self.seed, bf16=False,
        )  # fmt: skip

    @property
    def decoder_training(self) -> TrainOptions:
        """The same for the decoder."""
        every = min(self.validate_every, max(1, self.decoder_steps))
        return TrainOptions(
            steps=max(1, self.decoder_steps), batch_size=self.batch_size, lr=2e-4, warmup_steps=20, ema_decay=0.98,
            validate_every=every, save_every=every, seed=self.seed, bf16=False,
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
        """Whether any state had fewer bits on held-out loops than the base, and lost little elsewhere."""
        return len(self.history) > 1 and best_index(self.history) > 0

    @property
    def report(self) -> dict[str, Any]:
        """Figures before and after; `steps` are those of the state that was kept."""
        before, after = self.history[0], self.history[best_index(self.history)]
        return {
            "bits_per_beat_own_before": before["own"], "bits_per_beat_own_after": after["own"],
            "bits_per_beat_engine_before": before["engine"], "bits_per_beat_engine_after": after["engine"],
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


def export(
    out: Path, result: Result, own: list[CodedLoop], engine: list[CodedLoop], best: Path, decoder: dict[str, Tensor]
) -> None:
    """Write the best state as an ordinary bundle, with its card; `decoder` are tensors that replace the base's."""
    bundle, report = result.bundle, result.report
    tensors = {name: t for name, t in bundle.tensors.items() if name.startswith("codec.")}
    tensors |= half_precision(decoder) | half_precision(load_file(best), "transformer.")
    hours, engine_hours = (
        sum(len(loop.codes) * seconds_per_beat(loop.bpm) / 3_600.0 for loop in loops) for loops in (own, engine)
    )
    sources = [Source(f"{len(own)} loops of the person who fine-tuned it", "that person's own", hours)]
    if engine:
        sources.append(Source("Melformer's composition engine, against forgetting", "MIT", engine_hours))
    kinds = {"own": "held-out own loops", "engine": "held-out passages of the engine"}
    figures = {
        f"bits a beat, {text}, {when}": report[f"bits_per_beat_{kind}_{when}"]
        for kind, text in kinds.items() for when in ("before", "after")
    }  # fmt: skip
    kept = ("codec", "transformer")
    parts = {part: sum(t.numel() for name, t in tensors.items() if name.startswith(part)) for part in kept}
    how = f"low rank {result.options.lora}" if result.options.lora else "all weights"
    codec = {"codec": result.options.decoder_steps} if decoder else {}
    card = ModelCard(
        name=out.resolve().name, sources=sources, n_parameters=parts, steps={"transformer": report["steps"]} | codec,
        compute={"transformer": f"{result.seconds / 60.0:.1f} min, {how}"} | dict.fromkeys(codec, "the decoder alone"),
        evaluation=figures,
        machine=f"{platform.machine()}, 1 thread", command="melformer finetune", base_model=result.base,
        licence="other",
    )  # fmt: skip
    save_bundle(out, bundle.config, tensors, card.render())


def write_clips(out: Path, base: Bundle, sound: Waveform, loop: OwnLoop) -> None:
    """Continue a held-out loop with the base and with the fine-tuned checkpoint, same seed: before.wav, after.wav."""
    grid = BeatGrid(loop.bpm, sound.sample_rate)
    prompt = sound.slice(0, grid.edge(min(CLIP_BEATS, int(grid.beats_in(sound.n_samples)))))
    for name, folder in (("before", base.path), ("after", out)):
        model = Melformer.from_pretrained(folder)
        ready = model.prompt(prompt, bpm=loop.bpm, start_s=0.0, beats_per_bar=loop.beats_per_bar)
        found = continue_mix(model, ready, CLIP_BEATS, CLIP_SEED)
        write_waveform(out / f"{name}.wav", found.waveform, bpm=loop.bpm, encoding="pcm24")
