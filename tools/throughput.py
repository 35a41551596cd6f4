"""How much music a machine gets through: composing, writing tokens, and a step of each training.

    python tools/throughput.py WORK_DIR --processes 1 2                    # prints a table, writes it as JSON
    python tools/throughput.py WORK_DIR --preset large --stages codec transformer --batch-size 1 --steps 3 \\
        --memory-gb 10                                                                # no process may take more memory

Training runs on noise, which takes as long as music, under `torchrun`: on graphics cards where there are any, one
process a card, else on processor cores, one thread each. Beats count as half a second (120 BPM). Rates are given for
the clock on the wall and for each second of the processor, which a busy neighbour does not change much.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from melformer.audio.grid import seconds_per_beat
from melformer.codec.codec import Codec
from melformer.config import PRESETS, Config
from melformer.files import atomic_path
from melformer.train.distributed import barrier, join_processes, training_device
from melformer.train.options import OPTIONS
from melformer.train.tasks.codec import CodecTask
from melformer.train.tasks.transformer import TransformerTask
from melformer.train.trainer import Trainer

STAGES = ("compose", "tokens", "codec", "transformer")
BEAT_S = 0.5
HOURS = (10, 1_000, 100_000)


def compose(args: argparse.Namespace, workers: int) -> float:
    """Compose some minutes in so many processes; seconds of music."""
    from melformer.corpus import build

    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        build(folder, args.minutes / 60.0, 1, workers)
        lines = (Path(folder) / "index.jsonl").read_text(encoding="utf-8").splitlines()
    facts = [json.loads(line) for line in lines]
    return sum(fact["n_beats"] * seconds_per_beat(fact["bpm"]) for fact in facts)


def tokens(args: argparse.Namespace, workers: int) -> float:
    """Encode those minutes as `melformer train tokens` does; seconds of music."""
    from melformer.data.tokens import tokenise

    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        tokenise(Codec(PRESETS[args.preset].codec).eval(), [args.work / "music"], Path(folder), workers=workers)
        lines = (Path(folder) / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line)["n_beats"] for line in lines) * BEAT_S


def noise(config: Config, stage: str, folder: Path) -> Path:
    """Noise on the model's grid, or as tokens: what a step costs does not depend on what it hears."""
    rng, codec = np.random.default_rng(0), config.codec
    entries = [{"name": f"{i}.npy", "bpm": 120.0, "beats_per_bar": 4, "n_beats": 64} for i in range(8)]
    for entry in entries:
        if stage == "codec":
            array = rng.integers(-9_000, 9_000, (64, codec.samples_per_beat)).astype(np.int16)
        else:
            shape = (64, codec.latent_frames_per_beat, codec.n_codebooks)
            array = rng.integers(codec.codebook_size, size=shape).astype(np.uint16)
        np.save(folder / str(entry["name"]), array)
    (folder / "clips.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return folder


def train(args: argparse.Namespace, stage: str) -> dict[str, Any] | None:
    """Time some steps of this process and those beside it; the first process gives the figures of all."""
    rank, world = join_processes()
    config, device = PRESETS[args.preset], training_device()
    options = replace(OPTIONS[stage, args.preset], bf16=args.bf16, batch_size=args.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        make = CodecTask if stage == "codec" else TransformerTask
        task: Any = make(config, noise(config, stage, Path(folder)), options)
        trainer = Trainer(task, options, Path(folder))
        if args.compile:
            trainer.model = torch.compile(trainer.model)  # type: ignore[assignment]
        trainer.step = options.warmup_steps + 1  # past the codec's first steps, which are cheaper
        _, first_step = _timed(trainer, 1)
        wall, processor = _timed(trainer, args.steps)
    spent = torch.tensor(processor, device=device)
    if world > 1:
        dist.all_reduce(spent)
    beats = world * args.steps * args.batch_size * (task.crop_beats if stage == "codec" else task.n_beats)
    return None if rank else {
        "wall_s": wall, "processor_s": float(spent), "first_step_s": first_step, "music_s": beats * BEAT_S,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "device": device.type,
        "n_parameters": sum(p.numel() for p in task.module.parameters()),
    }  # fmt: skip


def _timed(trainer: Trainer, n_steps: int) -> tuple[float, float]:
    """Seconds on the wall and of this process on the processor for some steps of all processes."""
    barrier()
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(n_steps):
        trainer._train_step()
    barrier()
    return time.perf_counter() - wall, time.process_time() - processor


def prepare(args: argparse.Namespace, stage: str, workers: int) -> dict[str, Any]:
    """Time a stage that runs in processes of its own."""
    before = _processor_s()
    wall = time.perf_counter()
    music = compose(args, workers) if stage == "compose" else tokens(args, workers)
    wall = time.perf_counter() - wall
    return {"wall_s": wall, "processor_s": _processor_s() - before, "music_s": music, "device": "cpu"}


def _processor_s() -> float:
    """Seconds of the processor that this process and its finished children have used."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def one(args: argparse.Namespace, stage: str, n: int) -> dict[str, Any]:
    """The figures of one stage in `n` processes, each run in fresh ones."""
    words = [__file__, *args.words, "--only", stage]
    if stage in ("codec", "transformer"):
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words, "--processes", str(n)], capture_output=True, text=True,
                          env=environment)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{stage}, {n} process(es):\n{done.stderr[-2_000:]}")
    return {"stage": stage, "processes": n, **json.loads(done.stdout.splitlines()[-1])}


def describe(found: list[dict[str, Any]], price: float) -> str:
    """Two tables in Markdown: rates, and what some amounts of music take and cost."""
    head = ("stage", "processes", "music per second", "per processor second", "first step", "memory of a process")
    rows = [_row(*head), _row(*["---"] * len(head))]
    for r in found:
        first, memory = (f"{r['first_step_s']:.1f} s", f"{r['memory_gb']:.1f} GB") if "memory_gb" in r else ("", "")
        rates = (f"{r['music_s'] / r[clock]:.2f} s" for clock in ("wall_s", "processor_s"))
        rows.append(_row(r["stage"], str(r["processes"]), *rates, first, memory))
    rows += ["", _row("music, heard once", *(f"{h:,} hours" for h in HOURS)), _row(*["---"] * (len(HOURS) + 1))]
    for r in (r for r in found if r["processes"] == 1):
        on_card = r["device"] != "cpu"
        each = (r["wall_s"] if on_card else r["processor_s"]) / r["music_s"]
        unit = "card" if on_card else "core"
        spent = [h * each for h in HOURS]
        rows.append(_row(r["stage"], *(f"{_round(h)} {unit} hours, ${_round(h * price)}" for h in spent)))
    return "\n".join(rows)


def _round(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How much music a machine gets through.")
    parser.add_argument("work", type=Path, metavar="WORK_DIR")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="base")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--processes", type=int, nargs="+", default=[1], metavar="N")
    parser.add_argument("--steps", type=int, default=8, help="to time, after one that is not (8)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--minutes", type=float, default=4.0, help="of music to compose and encode (4)")
    parser.add_argument("--memory-gb", type=float, help="address space that a process may take")
    parser.add_argument("--price", type=float, default=0.04, help="dollars for a core or card for an hour (0.04)")
    parser.add_argument("--only", choices=STAGES, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def measure(args: argparse.Namespace) -> None:
    """One stage, in a process that was started for it; prints its figures as JSON."""
    torch.set_num_threads(1)  # before memory is short: torch may wait for ever for a thread that it cannot start
    if args.memory_gb:
        resource.setrlimit(resource.RLIMIT_AS, (int(args.memory_gb * 1e9),) * 2)
    if args.only in ("codec", "transformer"):
        figures = train(args, args.only)
    else:
        figures = prepare(args, args.only, args.processes[0])
    if figures:
        print(json.dumps(figures))


def main(words: list[str] | None = None) -> None:
    """Measure each stage with each number of processes; print, and write `WORK_DIR/throughput_PRESET.json`."""
    words = sys.argv[1:] if words is None else words
    args = _arguments(words)
    args.words = words
    args.work.mkdir(parents=True, exist_ok=True)
    if args.only:
        measure(args)
        return
    if "tokens" in args.stages and not (args.work / "music").exists():
        from melformer.corpus import build

        build(args.work / "music", args.minutes / 60.0, 1)
    found = [one(args, stage, n) for stage in args.stages for n in args.processes]
    with atomic_path(args.work / f"throughput_{args.preset}.json") as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(describe(found, args.price))


if __name__ == "__main__":
    main()
