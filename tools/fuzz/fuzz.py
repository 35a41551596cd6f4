"""Fuzz every reader of what strangers send: `python tools/fuzz/fuzz.py --cases 100000`, or `make fuzz`.

Each reader gets good inputs that were damaged, and Hypothesis' inventions where it takes structured values. Batches
of cases run in child processes with a cap on memory and on the processor time of each case; what a batch holds
depends on the seed alone. Only subclasses of MelformerError may come out: all else is a finding, printed with its
input, and the exit status is 1. `--reader NAME --first N --cases 1 --here` runs one case in this process.
"""

import argparse
import contextlib
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[2] / "tests"
sys.path.insert(0, str(TESTS))
BATCH = 2_500
HEADROOM_BYTES = 2**30


def readers(name: str | None = None) -> dict[str, Any]:
    """All readers by name, or those up to the module that has the one: a child that reads sound needs no torch."""
    found: dict[str, Any] = {}
    for part in ("fuzz_audio", "fuzz_models", "fuzz_page"):
        found |= {reader.name: reader for reader in importlib.import_module(part).READERS}
        if name in found:
            break
    return found


@dataclass
class Tally:
    """What came of some cases. `findings` has one entry a place and kind of error: its first case, its input."""

    cases: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        self.cases += other.cases
        self.refused += other.refused
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        for key, finding in other.findings.items():
            times = finding["times"] + self.findings.get(key, {"times": 0})["times"]
            self.findings[key] = {**self.findings.get(key, finding), "times": times}


class Runner:
    """Runs the cases of one batch in this process."""

    def __init__(self, reader: Any, seed: int, folder: Path, capped: bool = True) -> None:
        self.reader, self.seed, self.capped = reader, seed, capped
        self.prepared = reader.prepare(folder)
        self.progress = os.open(folder / "progress", os.O_RDWR | os.O_CREAT)
        self.tally = Tally()
        if capped:
            in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (in_use + HEADROOM_BYTES, in_use + HEADROOM_BYTES))

    def run(self, first: int, count: int) -> Tally:
        """Cases `first` to `first + count`: every second batch is Hypothesis', where the reader has a strategy."""
        if self.reader.strategy is not None and first // BATCH % 2:
            self._run_hypothesis(first, count)
        else:
            for index in range(first, first + count):
                rng = np.random.default_rng([self.seed, zlib.crc32(self.reader.name.encode()), index])
                self._one(index, self.reader.hostile(self.prepared, rng))
        return self.tally

    def _run_hypothesis(self, first: int, count: int) -> None:
        from hypothesis import HealthCheck, Phase, given, seed, settings

        @seed(self.seed * 1_000_003 + first)
        @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(self.reader.strategy(self.prepared))
        def each(value: Any) -> None:
            self._one(first + self.tally.cases, value)

        each()

    def _one(self, index: int, case: Any) -> None:
        from melformer.errors import MelformerError

        os.pwrite(self.progress, index.to_bytes(8, "little"), 0)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        began = usage.ru_utime + usage.ru_stime
        if self.capped:  # past it, the system ends this process, also inside a library
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (int(began) + 1 + self.reader.cpu_s, hard))
        try:
            self.reader.use(self.prepared, case)
        except MelformerError as error:
            self.tally.refused += 1
            if not str(error).strip():
                self._note(index, case, error)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what we look for
            self._note(index, case, error)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.tally.cases += 1
        self.tally.slowest_s = max(self.tally.slowest_s, usage.ru_utime + usage.ru_stime - began)

    def _note(self, index: int, case: Any, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/melformer/" in frame.filename] or frames
        key = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
        words = "".join(traceback.format_exception(error)[-4:])[-1_500:]
        new = {"case": index, "times": 0, "error": words, "input": repr(case)[:2_000]}
        self.tally.findings.setdefault(key, new)["times"] += 1


def in_child(name: str, seed: int, first: int, count: int, wall_s: float = 1_800.0) -> Tally:
    """Run a batch in a child; a child that is killed is a finding, and another goes on after its case."""
    tally, end = Tally(), first + count
    while first < end:
        with _folder() as folder:
            command = [sys.executable, __file__, "--child", str(folder), "--reader", name, "--seed", str(seed),
                       "--first", str(first), "--cases", str(end - first)]  # fmt: skip
            with open(folder / "stderr", "wb") as stderr, open(folder / "stdout", "wb") as stdout:
                try:
                    status = subprocess.run(command, stdout=stdout, stderr=stderr, timeout=wall_s).returncode
                except subprocess.TimeoutExpired:
                    status = -1
            if status == 0:
                data = json.loads((folder / "stdout").read_text(encoding="utf-8").splitlines()[-1])
                tally.add(Tally(**data))
                return tally
            progress = folder / "progress"
            begun = progress.exists() and progress.stat().st_size == 8
            at = int.from_bytes(progress.read_bytes(), "little") if begun else first
            words = (folder / "stderr").read_text(encoding="utf-8", errors="replace")[-1_500:]
        if not begun:  # another child would come no further
            died = {"case": first, "times": 1, "error": f"no case began: status {status}\n{words}", "input": "none"}
            tally.add(Tally(findings={f"status {status} before case {first}": died}))
            return tally
        died = {"case": at, "times": 1, "error": f"the process ended with status {status}\n{words}", "input": "?"}
        tally.add(Tally(cases=at + 1 - first, findings={f"status {status} at case {at}": died}))
        first = at + 1
    return tally


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="melformer-fuzz-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000, help="in all, or of the reader that is named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", help="only this one")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--here", action="store_true", help="in this process, without caps, for a debugger")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        os.environ.update(OMP_NUM_THREADS="1", GRADIO_ANALYTICS_ENABLED="False")
        runner = Runner(readers(args.reader)[args.reader], args.seed, args.child)
        print("\n" + json.dumps(vars(runner.run(args.first, args.cases))))
        return 0
    if args.here:
        with _folder() as folder:
            runner = Runner(readers(args.reader)[args.reader], args.seed, folder, capped=False)
            return _print(args.reader, runner.run(args.first, args.cases), 0.0)
    return _run_all(args)


def _run_all(args: argparse.Namespace) -> int:
    chosen = {name: reader for name, reader in readers(args.reader).items() if args.reader in (None, name)}
    shares = sum(reader.share for reader in chosen.values())
    total, n_findings = 0, 0
    for name, reader in chosen.items():
        count, began, tally = round(args.cases * reader.share / shares), time.monotonic(), Tally()
        for first in range(args.first, args.first + count, BATCH):
            tally.add(in_child(name, args.seed, first, min(BATCH, args.first + count - first)))
        total += tally.cases
        n_findings += _print(name, tally, time.monotonic() - began)
    print(f"{'all':10}{total:9,} cases, {n_findings} findings (seed {args.seed})")
    return int(n_findings > 0)


def _print(name: str, tally: Tally, seconds: float) -> int:
    print(f"{name:10}{tally.cases:9,} cases, {tally.refused:7,} refused by name, {len(tally.findings)} findings, "
          f"slowest {tally.slowest_s:.2f} s, {seconds:.0f} s", flush=True)  # fmt: skip
    for key, finding in tally.findings.items():
        print(f"  {key} ({finding['times']} times, first in case {finding['case']})\n    input: {finding['input']}")
        print("    " + finding["error"].strip().replace("\n", "\n    "), flush=True)
    return len(tally.findings)


if __name__ == "__main__":
    sys.exit(main())
