"""Loss against compute: transformers of three sizes on the same tokens, each for the same time of one core.

    python experiments/2026-11-beat-transformer/scaling.py TOKENS -o RUNS --minutes 7  # trains what is not done, prints
    python experiments/2026-11-beat-transformer/scaling.py TOKENS -o RUNS --plot OUT.png   # and draws

Compute is counted (multiplications and additions of forward and backward), so a busy neighbour does not bend a curve.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from melformer.config import Config, TransformerConfig
from melformer.files import atomic_path
from melformer.train.options import TrainOptions
from melformer.train.tasks.transformer import TransformerTask
from melformer.train.trainer import Trainer

SIZES: dict[str, dict[str, int]] = {
    "small": {
        "dim": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "beat_dim": 32, "n_beat_layers": 1, "n_beat_heads": 2,
        "n_beat_kv_heads": 1, "embedding_dim": 4, "pointer_dim": 32,
    },
    "middle": {
        "dim": 160, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "beat_dim": 96, "n_beat_layers": 2, "n_beat_heads": 2,
        "n_beat_kv_heads": 1, "embedding_dim": 8, "pointer_dim": 48,
    },
    "large": {
        "dim": 320, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "beat_dim": 224, "n_beat_layers": 3,
        "n_beat_heads": 4, "n_beat_kv_heads": 2, "embedding_dim": 12, "pointer_dim": 64,
    },
}  # fmt: skip
STRETCH = 25
"""Steps from one look at the clock to the next."""
OPTIONS = TrainOptions(
    steps=10**6, batch_size=4, lr=2e-3, warmup_steps=50, decay_fraction=0.0, weight_decay=0.05, beta1=0.9, beta2=0.95,
    ema_decay=0.98, validate_every=10**8, save_every=10**8,
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """Where a run stood: step, seconds of the processor, floating-point operations, held-out bits a beat."""

    step: int
    seconds: float
    flops: float
    bits_per_beat: float


def curve(size: str, task: TransformerTask, run: Path, minutes: float) -> dict[str, Any]:
    """Train one model for so many minutes of the processor; its parameters and its points."""
    done = run / "curve.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    task.export = lambda directory, record: None  # type: ignore[method-assign]
    flops = flops_per_step(task)
    trainer = Trainer(task, OPTIONS, run)
    seconds, points = 0.0, [Point(0, 0.0, 0.0, task.validate()["bits_per_beat"])]
    while seconds < 60.0 * minutes:
        begun = time.process_time()
        trainer.fit(trainer.step + STRETCH)
        seconds += time.process_time() - begun
        if seconds > 1.3 * points[-1].seconds + 5.0 or seconds >= 60.0 * minutes:  # evenly on a logarithmic axis
            bits = trainer._with_ema(task.validate)["bits_per_beat"]
            points.append(Point(trainer.step, round(seconds, 1), trainer.step * flops, bits))
            print(f"{size}: {points[-1]}", flush=True)
    found = {
        "size": size, "n_parameters": sum(p.numel() for p in task.module.parameters()),
        "points": [vars(point) for point in points],
    }  # fmt: skip
    with atomic_path(done) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def task_of(size: str, tokens: Path) -> TransformerTask:
    """The training of one size."""
    config = replace(Config(), transformer=replace(TransformerConfig(), **SIZES[size]))  # type: ignore[arg-type]
    return TransformerTask(config, tokens, OPTIONS)


def flops_per_step(task: TransformerTask) -> float:
    """Floating-point operations of one step's forward and backward passes."""
    with FlopCounterMode(display=False) as counter:
        task.loss(task.module, np.random.default_rng(0), 0)["total"].backward()
    task.module.zero_grad(set_to_none=True)
    return float(counter.get_total_flops() * task.options.accumulate)


def draw(curves: list[dict[str, Any]], path: Path) -> None:
    """A picture of held-out bits a beat against compute, one line a size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for found in curves:
        points = found["points"][1:]
        label = f"{found['n_parameters'] / 1e6:.1f} M parameters"
        axes.plot([p["flops"] for p in points], [p["bits_per_beat"] for p in points], marker=".", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("training compute (floating-point operations)")
    axes.set_ylabel("held-out bits a beat")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def main() -> None:
    """Train what has not been trained, print a line a size, draw."""
    parser = argparse.ArgumentParser(description="Loss against compute for transformers of three sizes.")
    parser.add_argument("tokens", type=Path, metavar="TOKENS", help="a folder of `melformer train tokens`")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/scaling"), metavar="RUNS")
    parser.add_argument("--minutes", type=float, default=7.0, help="of one core, for each size (7)")
    parser.add_argument("--plot", type=Path, metavar="OUT.png")
    args = parser.parse_args()
    torch.set_num_threads(1)
    curves = [curve(size, task_of(size, args.tokens), args.out / size, args.minutes) for size in SIZES]
    for found in curves:
        last, size = found["points"][-1], f"{found['n_parameters'] / 1e6:.2f} M parameters"
        print(f"{size}: {last['bits_per_beat']:.0f} bits a beat after {last['step']} steps, "
              f"{last['flops']:.2e} operations, {last['seconds']:.0f} s of a core")  # fmt: skip
    if args.plot:
        draw(curves, args.plot)


if __name__ == "__main__":
    main()
