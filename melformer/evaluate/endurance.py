"""What only shows after long: one stream of thousands of beats, and many seeds of every loop.

    python -m melformer.evaluate.endurance stream LOOP --beats 10000
    python -m melformer.evaluate.endurance seeds DIR_OF_LOOPS --seeds 100

The first prints memory, time a beat and loudness for every thousandth part of a stream; the second the share of
silent and stuck beats among all continuations of 16 beats.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melformer.evaluate.beats import beat_features
from melformer.evaluate.continuation import SILENT_DB, stuck_share
from melformer.generate import Melformer

N_NEW = 16
AT_ONCE = 10


@dataclass(frozen=True)
class Stretch:
    """Some beats of a long stream: their median seconds, the process's memory in MB, and loudness (RMS) in dB."""

    first_beat: int
    beat_s: float
    memory_mb: float
    level_db: float


def stretches(model: Melformer, loop: Path, n_beats: int, n_parts: int = 20) -> Iterator[Stretch]:
    """One stream of `n_beats` in `n_parts` stretches. Errors: those of `Melformer.stream`."""
    stream, length = model.stream(loop, n_beats, seed=0), n_beats // n_parts
    for part in range(n_parts):
        seconds, power = [], []
        for _ in range(length):
            beat = next(stream)
            seconds.append(beat.compute_s)
            power.append(float((beat.waveform.samples.astype(np.float64) ** 2).mean()))
        level = 10.0 * np.log10(max(float(np.mean(power)), 1e-12))
        yield Stretch(part * length, float(np.median(seconds)), _memory_mb(), float(level))


def faults(model: Melformer, loop: Path, n_seeds: int) -> tuple[float, float]:
    """Shares of silent and of stuck beats over all seeds' continuations of one loop."""
    prompt = model.prompt(loop)
    before = beat_features(prompt.waveform, prompt.bpm, prompt.n_beats)
    silent, stuck = [], []
    for first in range(0, n_seeds, AT_ONCE):
        seeds = list(range(first, min(n_seeds, first + AT_ONCE)))
        for take in model.takes(prompt, N_NEW, seeds):
            new = beat_features(take.new, prompt.bpm, N_NEW, lead=prompt.waveform)
            silent.append(float((new.level_db < SILENT_DB).mean()))
            stuck.append(stuck_share(before, new))
    return float(np.mean(silent)), float(np.mean(stuck))


def _memory_mb() -> float:
    """Resident memory now (Linux), else the most so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m melformer.evaluate.endurance")
    parser.add_argument("what", choices=["stream", "seeds"])
    parser.add_argument("loops", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--beats", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=100)
    args = parser.parse_args()
    model, start = Melformer.from_pretrained(args.model), time.monotonic()
    if args.what == "stream":
        for part in stretches(model, args.loops, args.beats):
            print(json.dumps(vars(part)), flush=True)
        return
    for loop in sorted(args.loops.iterdir()):
        silent, stuck = faults(model, loop, args.seeds)
        seconds = round(time.monotonic() - start)
        print(json.dumps({"loop": loop.name, "silent": silent, "stuck": stuck, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
