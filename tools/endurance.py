"""What only shows after long: one stream of thousands of beats, and many seeds of every loop.

    python tools/endurance.py stream LOOP --beats 10000 [-o RESULT.json] [--plot OUT.png]
    python tools/endurance.py seeds DIR_OF_LOOPS --seeds 100 [-o RESULT.json]

The first prints memory, time a beat and loudness for every twentieth part of a stream; the second the share of silent
and stuck beats among all continuations of 16 beats.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import audio_files
from melformer.evaluate.metrics.beat_features import beat_features
from melformer.evaluate.metrics.continuation import SILENT_DB, stuck_share
from melformer.files import atomic_path
from melformer.generate import Melformer

N_NEW = 16
AT_ONCE = 10


@dataclass(frozen=True)
class Stretch:
    """Some beats of a long stream: their median seconds, the process's memory in MB, loudness (RMS) in dB, and the
    share of beats that are new, their codes unlike those of all beats of the prompt."""

    first_beat: int
    beat_s: float
    memory_mb: float
    level_db: float
    new_share: float


def stretches(model: Melformer, loop: Path, n_beats: int, n_parts: int = 20) -> Iterator[Stretch]:
    """One stream of `n_beats` in `n_parts` stretches. Errors: those of `Melformer.stream`."""
    stream, length = model.stream(loop, n_beats, seed=0), max(1, n_beats // n_parts)
    known = {beat.tobytes() for beat in stream.prompt.codes}
    for first in range(0, length * (n_beats // length), length):
        seconds, power, new = [], [], []
        for _ in range(length):
            beat = next(stream)
            seconds.append(beat.compute_s)
            power.append(float((beat.waveform.samples.astype(np.float64) ** 2).mean()))
            new.append(np.mean([codes.tobytes() not in known for codes in beat.codes]))
        level = 10.0 * np.log10(max(float(np.mean(power)), 1e-12))
        yield Stretch(first, float(np.median(seconds)), _memory_mb(), float(level), float(np.mean(new)))


def drift(parts: list[Stretch]) -> dict[str, float]:
    """How the last stretch differs from the first after it, in which memory fills up: dB, MB, and times the seconds."""
    first, last = parts[min(1, len(parts) - 1)], parts[-1]
    levels = [part.level_db - first.level_db for part in parts]
    return {
        "level_db": levels[-1], "most_level_db": max(map(abs, levels)),
        "memory_mb": last.memory_mb - first.memory_mb, "x_beat_s": last.beat_s / first.beat_s,
    }  # fmt: skip


def faults(model: Melformer, loop: Path, n_seeds: int) -> tuple[float, float]:
    """Shares of silent and of stuck beats over all seeds' continuations of one loop."""
    prompt = model.prompt(loop)
    before = beat_features(prompt.waveform, prompt.bpm, prompt.n_beats)
    silent, stuck = [], []
    for first in range(0, n_seeds, AT_ONCE):
        seeds = list(range(first, min(n_seeds, first + AT_ONCE)))
        for take in model.generate(prompt, N_NEW, seeds=seeds):
            new = beat_features(take.new, prompt.bpm, N_NEW, lead=prompt.waveform)
            silent.append(float((new.level_db < SILENT_DB).mean()))
            stuck.append(stuck_share(before, new))
    return float(np.mean(silent)), float(np.mean(stuck))


def draw(parts: list[Stretch], path: Path) -> None:
    """A picture of a long stream: loudness, time a beat and memory against beats."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    beats = [part.first_beat for part in parts]
    rows = (("level_db", "loudness, dB", 1.0), ("beat_s", "ms a beat", 1e3), ("memory_mb", "memory, MB", 1.0))
    for axes, (name, label, scale) in zip(figure.subplots(3, 1, sharex=True), rows):
        values = [scale * getattr(part, name) for part in parts]
        axes.plot(beats, values, marker=".")
        axes.set_ylabel(label)
        low, high = (0.0, 1.2 * max(values)) if name != "level_db" else (min(values) - 3.0, max(values) + 3.0)
        axes.set_ylim(low, high)
        axes.grid(alpha=0.3)
    axes.set_xlabel("new beats")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _memory_mb() -> float:
    """Resident memory now (Linux), else the most so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _stream(model: Melformer, args: argparse.Namespace) -> dict[str, Any]:
    parts = []
    for part in stretches(model, args.loops, args.beats):
        parts.append(part)
        print(json.dumps(vars(part)), flush=True)
    if args.plot:
        draw(parts, args.plot)
    return {"loop": args.loops.name, "beats": args.beats, "drift": drift(parts), "stretches": [vars(p) for p in parts]}


def _seeds(model: Melformer, args: argparse.Namespace) -> dict[str, Any]:
    start, found = time.monotonic(), []
    for loop in audio_files(args.loops):
        silent, stuck = faults(model, loop, args.seeds)
        found.append({"loop": loop.name, "silent": silent, "stuck": stuck})
        print(json.dumps({**found[-1], "seconds": round(time.monotonic() - start)}), flush=True)
    means = {name: float(np.mean([one[name] for one in found])) for name in ("silent", "stuck")}
    return {"seeds": args.seeds, "new_beats": N_NEW, **means, "loops": found}


def main() -> None:
    """Measure, tell of every step, and write the result."""
    parser = argparse.ArgumentParser(prog="python tools/endurance.py")
    parser.add_argument("what", choices=["stream", "seeds"])
    parser.add_argument("loops", type=Path, help="a loop (stream), or a folder of loops (seeds)")
    parser.add_argument("--model")
    parser.add_argument("--beats", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("-o", "--out", type=Path, metavar="RESULT.json")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="a picture of the stream")
    args = parser.parse_args()
    model = Melformer.from_pretrained(args.model)
    result = _stream(model, args) if args.what == "stream" else _seeds(model, args)
    if args.out:
        with atomic_path(args.out) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name not in {"loops", "stretches"}}))


if __name__ == "__main__":
    main()
