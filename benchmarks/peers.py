"""Melformer beside its peers: the same job on the same cores in one run, in alternation, medians and spread."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import CORES
from benchmarks.systems import BPM, NAMES, PROMPT_BEATS
from melformer.audio.grid import seconds_per_beat

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmark" / "peers.json"
# Long jobs: only with all cores, and without a round to warm up where they take minutes.
COSTLY = {"MusicGen-small": ("first beat", "continue", "continue 4"), "DAC 44 kHz": ("encode", "decode")}
MINUTES = ("continue", "continue 4")


@dataclass
class Worker:
    """A system in its process; `results` holds the seconds of every repetition by (threads, job)."""

    name: str
    process: subprocess.Popen[str]
    facts: dict[str, Any] = field(default_factory=dict)
    results: dict[tuple[int, str], list[dict[str, float]]] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} stopped: its messages stand above.")
        return json.loads(line)

    def run(self, threads: int, job: str) -> dict[str, float]:
        """Do a job once and wait for it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{threads}\t{job}\n")
        self.process.stdin.flush()
        reply = self.read()
        self.peaks[job] = max(self.peaks.get(job, 0.0), reply["peak_mb"])
        return reply["seconds"]

    def wants(self, threads: int, most_threads: int, job: str, rounds: int, budget_s: float) -> bool:
        """Whether the job is to be repeated: not beyond its rounds, nor when it has had its time."""
        if job not in self.facts["jobs"] or (threads < most_threads and job in COSTLY.get(self.name, ())):
            return False
        done = self.results.get((threads, job), [])
        return len(done) < rounds and sum(one["all_s"] for one in done) < budget_s


def start(name: str, n_beats: int) -> Worker:
    command = [sys.executable, "-m", "benchmarks.worker", name, str(n_beats)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[1]
    )
    worker = Worker(name, process)
    worker.facts = worker.read()
    return worker


def measure(worker: Worker, threads: int, job: str) -> None:
    key = (threads, job)
    if key not in worker.results and not (worker.name in COSTLY and job in MINUTES):
        worker.run(threads, job)  # the first use of anything is slow, and a user's machine is warm
    seconds = worker.run(threads, job)
    worker.results.setdefault(key, []).append(seconds)
    print(f"{worker.name:16} {threads} threads  {job:12} {seconds['all_s']:8.2f} s", file=sys.stderr, flush=True)


def summary(repetitions: list[dict[str, float]]) -> dict[str, Any]:
    """Median, least and most of every time, seconds."""
    times = {name: [one[name] for one in repetitions] for name in repetitions[0]}
    spread = {name: [min(values), statistics.median(values), max(values)] for name, values in times.items()}
    return {"n": len(repetitions), **{name: [round(value, 4) for value in values] for name, values in spread.items()}}


def machine() -> dict[str, Any]:
    """The machine and what it was doing."""
    from melformer.bench import _machine

    return {
        "processor": _machine(), "cores": len(CORES), "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(), "torch": version("torch"),
    }  # fmt: skip


def compare(n_beats: int, rounds: int, budget_s: float, names: tuple[str, ...]) -> dict[str, Any]:
    """Run every job of every system; each job goes round the systems once before it is repeated."""
    facts = {**machine(), "transformers": version("transformers")}
    most = facts["cores"]
    workers = [start(name, n_beats) for name in names]
    jobs = ("encode", "decode", "first beat", "continue", "continue 4")  # small ones first: peak memory only grows
    try:
        for job in jobs:
            for threads in sorted({1, most}):
                for _ in range(rounds):
                    for worker in workers:
                        if worker.wants(threads, most, job, rounds, budget_s):
                            measure(worker, threads, job)
    finally:
        for worker in workers:
            worker.process.kill()
    systems = {
        worker.name: {
            **{name: worker.facts[name] for name in ("n_parameters", "weights_mb", "load_s")},
            "peak_mb": worker.peaks,
            "times": {f"{job}, {threads} threads": summary(done) for (threads, job), done in worker.results.items()},
        }
        for worker in workers
    }
    job = {"bpm": BPM, "prompt_beats": PROMPT_BEATS, "new_beats": n_beats, "new_s": n_beats * seconds_per_beat(BPM)}
    return {"machine": facts, "job": job, "systems": systems}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two beats, two rounds: only to see that it works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=100.0, help="seconds after which a job is not repeated")
    parser.add_argument("--systems", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    n_beats, rounds = (2, 2) if args.quick else (16, args.rounds)
    result = compare(n_beats, rounds, args.budget, tuple(args.systems))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written: {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
