"""Time and memory as the work grows: loop length, beats, takes, users, sample rate. Writes docs/benchmark/growth.json.

    python -m benchmarks.growth [--quick]

tests/test_growth.py keeps the shapes by counting operations and bytes; here stand the seconds of one machine.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import stay
from benchmarks.peers import machine
from melformer import Melformer
from melformer.audio.io import write_waveform
from melformer.audio.resample import resample
from melformer.bench import loop_at
from melformer.generate import BeatStream

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmark" / "growth.json"
BPM = 120.0
Row = dict[str, float]


def median_s(work: Callable[[], Any], repetitions: int = 3) -> float:
    """Median seconds of a few repetitions."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def resident_mb() -> float:
    """Memory that this process holds now, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def held_mb(stream: BeatStream) -> float:
    """What a stream needs to go on, without the loop itself, MB."""
    tensors = stream.state().tensors
    return sum(t.numel() * t.element_size() for name, t in tensors.items() if not name.startswith("prompt.")) / 1e6


def by_prompt(model: Melformer, lengths: list[int]) -> list[Row]:
    """From the loop in memory to its first beat, and a beat after it, against the length of the loop."""
    rows = []
    for n_beats in lengths:
        loop, first_s, beat_s = loop_at(BPM, n_beats), [], []
        for _ in range(3):
            start = time.perf_counter()
            stream = model.stream(loop, 9, bpm=BPM, start_s=0.0)
            next(stream)
            first_s.append(time.perf_counter() - start)
            beat_s += [beat.compute_s for beat in stream]
        row = {"beats": n_beats, "first_s": statistics.median(first_s), "beat_s": statistics.median(beat_s)}
        rows.append({**row, "held_mb": held_mb(stream)})
    return rows


def by_beats(model: Melformer, marks: list[int]) -> list[Row]:
    """One stream: the median beat of each stretch, what the stream holds at its end, and the whole process."""
    stream, rows, compute_s = model.stream(loop_at(BPM), None, bpm=BPM, start_s=0.0), [], []
    next(stream)
    for mark in marks:
        while stream.index < mark:
            compute_s.append(next(stream).compute_s)
        row = {"beats": mark, "beat_s": statistics.median(compute_s[-mark // 2 :]), "all_s": sum(compute_s)}
        rows.append({**row, "held_mb": held_mb(stream), "resident_mb": resident_mb()})
    return rows


def by_takes(model: Melformer, numbers: list[int], n_beats: int) -> list[Row]:
    """Several takes in one batch."""
    prompt = model.prompt(loop_at(BPM), bpm=BPM, start_s=0.0)
    return [
        {"takes": n, "all_s": median_s(lambda n=n: model.generate(prompt, n_beats, seeds=list(range(n))))}
        for n in numbers
    ]


def by_rate(model: Melformer, rates: list[int], n_beats: int) -> list[Row]:
    """The same loop at other sample rates: a beat, and the whole with reading."""
    rows, loop = [], loop_at(BPM)
    for rate in rates:
        ours, compute_s = resample(loop, rate), []

        def run(ours: Any = ours, compute_s: list[float] = compute_s) -> None:
            compute_s += [beat.compute_s for beat in model.stream(ours, n_beats, bpm=BPM, start_s=0.0)][1:]

        rows.append({"rate": rate, "all_s": median_s(run), "beat_s": statistics.median(compute_s)})
    return rows


def by_users(model: Melformer, numbers: list[int], n_beats: int) -> list[Row]:
    """Visitors of the page who all ask at once: through its sessions and its queue, made as fast as can be."""
    from melformer.ui.host.limits import Limits
    from melformer.ui.session.sessions import Sessions

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loop_120bpm.wav"
        write_waveform(path, loop_at(BPM))
        for n_users in numbers:
            sessions = Sessions(model, Limits(), Path(folder) / f"sessions{n_users}")
            visitors = [sessions.find(sessions.create(paced=False)) for _ in range(n_users)]
            for visitor in visitors:
                visitor.load(path)
            rows.append({"users": n_users, **_all_at_once(visitors, n_beats)})
            sessions.close()
    return rows


def _all_at_once(visitors: list[Any], n_beats: int) -> Row:
    """Seconds to everybody's first beat (median, longest), between two beats of one visitor, and until all are done."""
    arrivals: list[list[float]] = [[] for _ in visitors]

    def play(number: int) -> None:
        for message in visitors[number].runs.play({"n_beats": n_beats, "seed": number}):
            if message["kind"] == "beat":
                arrivals[number].append(time.perf_counter())

    start = time.perf_counter()
    threads = [threading.Thread(target=play, args=(number,)) for number in range(len(visitors))]
    deque(map(threading.Thread.start, threads), maxlen=0)
    deque(map(threading.Thread.join, threads), maxlen=0)
    assert all(len(times) == n_beats for times in arrivals)
    first = [times[0] - start for times in arrivals]
    gaps = np.concatenate([np.diff(times) for times in arrivals])
    return {
        "first_s": statistics.median(first), "last_first_s": max(first), "gap_s": float(np.median(gaps)),
        "gap_p95_s": float(np.percentile(gaps, 95)), "all_s": max(times[-1] for times in arrivals) - start,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: only to see that it works")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    stay()
    facts, model = machine(), Melformer.from_pretrained()
    deque(model.stream(loop_at(BPM), 4, bpm=BPM, start_s=0.0), maxlen=0)  # the first use of anything is slow
    most, few = (32, 4) if args.quick else (4_096, 8)
    result = {
        "machine": facts,
        "prompt": by_prompt(model, [n for n in (2, 4, 8, 16, 32, 64) if n <= most]),
        "takes": by_takes(model, [n for n in (1, 2, 4, 8, 16) if n <= most // 8], few),
        "users": by_users(model, [1, 2] if args.quick else [1, 2, 3, 4, 6, 8], few),
        "rate": by_rate(model, [22_050, 44_100] if args.quick else [22_050, 32_000, 44_100, 48_000, 96_000], few),
        "beats": by_beats(model, [n for n in (16, 64, 256, 1_024, 4_096) if n <= most]),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
