"""`melformer bench` several times, the medians, and where the time of a beat goes, beside the least that it could take.

python tools/bench_report.py [--model DIR|REPO] [--runs 3] [--beside CHECKOUT] [-o docs/results/bench.json]

`--beside` names a checkout of earlier code: `melformer bench` of both runs in turns, each in a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from melformer.bench import bench, loop_at
from melformer.evaluate.results import write_results
from melformer.generate.planning.joint_planning import advance_together
from melformer.generate.planning.plan_options import FREE

if TYPE_CHECKING:
    from melformer.generate import BeatStream, Melformer

ROOT = Path(__file__).resolve().parents[1]
N_BYTES, SIDE, REPEATS = 256_000_000, 1_024, 5


@dataclass(frozen=True)
class TimedPart:
    """One part of a beat's computing: its share of the time, its milliseconds a beat, and the least: of reading its
    weights once per step from memory, and of its multiply-adds at the measured peak (0: not counted)."""

    name: str
    share: float
    beat_ms: float
    reading_ms: float
    multiplying_ms: float


@dataclass(frozen=True)
class Peak:
    """What one core of this machine does at most, measured: bytes read from memory and multiply-adds, a second."""

    bytes_per_s: float
    products_per_s: float


def measure_parts(model: "Melformer", stream: "BeatStream", n_beats: int) -> list[TimedPart]:
    """Time planning, rendering and encoding over `n_beats` of a stream, and set each beside its limit."""
    clocks = {
        "planning": _timed(stream, "plan"), "rendering": _timed(stream.mixer, "sounds"),
        "encoding": _timed(model.codec, "encode"),
    }  # fmt: skip
    needs = {"planning": _planning(model, stream), "encoding": _encoding(model)}
    begun, planned = time.perf_counter(), len(stream.choices)
    for _ in range(n_beats):
        _ = next(stream).codes
    whole, n_units, peak = time.perf_counter() - begun, len(stream.choices) - planned, measure_peak()
    times = {"planning": n_units, "encoding": n_beats * stream.prompt.model_beats_per_beat}
    seconds = {name: sum(clock) for name, clock in clocks.items()}
    seconds["the rest"] = whole - sum(seconds.values())
    parts = []
    for name, took in seconds.items():
        reads, products = needs.get(name, (0, 0))
        scale = 1e3 * times.get(name, 0) / n_beats
        multiplying = products / peak.products_per_s
        parts.append(
            TimedPart(name, took / whole, 1e3 * took / n_beats, scale * reads / peak.bytes_per_s, scale * multiplying)
        )
    return parts


def _timed(owner: Any, name: str) -> list[float]:
    """Let a method of one object note the seconds of each call."""
    work, seconds = getattr(owner, name), []

    def timed(*args: Any) -> Any:
        begun = time.perf_counter()
        answer = work(*args)
        seconds.append(time.perf_counter() - begun)
        return answer

    setattr(owner, name, timed)
    return seconds


def measure_peak() -> Peak:
    """Read a large array, and multiply matrices that fit into the cache, with torch's threads as they are."""
    many = torch.zeros(N_BYTES // 4)
    a = torch.rand(SIDE, SIDE)
    return Peak(N_BYTES / _best(many.sum), float(SIDE**3) / _best(lambda: a @ a))


def _best(work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _linear(*modules: nn.Module) -> list[nn.Linear]:
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]


@torch.inference_mode()
def _planning(model: "Melformer", stream: "BeatStream") -> tuple[int, int]:
    """Of one unit: every linear layer of the pointer, with the rows that it is given."""
    planner, options = stream.planner.fork(0), stream.config.of_bar(0, 0)
    return _counted(model.pointer, lambda: advance_together([planner], [options], [FREE]))


@torch.inference_mode()
def _encoding(model: "Melformer") -> tuple[int, int]:
    """Of one model beat: every linear layer of the encoder, with the rows that it is given."""
    beat = torch.zeros(1, model.codec.config.samples_per_beat)
    return _counted(model.codec.encoder, lambda: model.codec.encode(beat))


def _counted(module: nn.Module, work: Callable[[], Any]) -> tuple[int, int]:
    rows = []

    def note(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        rows.append((layer, given[0].numel() // layer.in_features))

    hooks = [layer.register_forward_pre_hook(note) for layer in _linear(module)]
    work()
    for hook in hooks:
        hook.remove()
    return sum(4 * layer.weight.numel() for layer, _ in rows), sum(n * layer.weight.numel() for layer, n in rows)


def medians(runs: Sequence[Any]) -> Any:
    """Of dictionaries, lists and numbers of one shape, the median of each number; of all else the first."""
    first = runs[0]
    if isinstance(first, dict):
        return {key: medians([run[key] for run in runs]) for key in first}
    if isinstance(first, list):
        return [medians(values) for values in zip(*runs, strict=True)]
    return statistics.median(runs) if isinstance(first, float) else first


def in_turns(checkouts: dict[str, Path], n_runs: int) -> dict[str, Any]:
    """Medians of `melformer bench` of several checkouts, run one after the other, `n_runs` times."""
    runs: dict[str, list[Any]] = {name: [] for name in checkouts}
    for name in list(checkouts) * n_runs:
        place = str(checkouts[name])
        environment = {**os.environ, "PYTHONPATH": place, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "melformer", "bench", "--json"]
        ran = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=True)
        found = json.loads(ran.stdout)
        del found["peak_memory_mb"]  # a child's peak begins with its parent's size
        runs[name].append(found)
    return {name: medians(found) for name, found in runs.items()}


def main() -> int:
    """Print the tables."""
    from melformer.generate import Melformer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--beats", type=int, default=32, help="beats whose parts are timed (default 32)")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="of earlier code, run in turns")
    parser.add_argument("-o", dest="output", type=Path, metavar="RESULT.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = []
    for _ in range(args.runs):
        runs.append(bench(args.model))
        print(runs[-1].to_text(), "\n")
    model = Melformer.from_pretrained(args.model)
    stream = model.stream(model.prompt(loop_at(120.0), bpm=120.0, start_s=0.0))
    next(stream)
    print(f"{'of a beat at 120 BPM':20}{'share':>8}{'ms':>8}{'least to read':>16}{'to multiply':>14}")
    parts = measure_parts(model, stream, args.beats)
    for part in parts:
        limits = f"{part.reading_ms:13.2f} ms{part.multiplying_ms:11.2f} ms" if part.reading_ms else ""
        print(f"{part.name:20}{part.share:8.0%}{part.beat_ms:8.1f}{limits}")
    if args.output:
        values = {"bench": medians([asdict(run) for run in runs]), "parts": [asdict(part) for part in parts]}
        command = f"python tools/bench_report.py --runs {args.runs}"
        if args.beside:
            checkouts = {"this code": ROOT, f"commit {_commit(args.beside)}": args.beside}
            values["in turns"] = in_turns(checkouts, args.runs)
            command += " --beside CHECKOUT"
        write_results(args.output, command, values)
    return 0


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
