"""A crowd at the page: 64 visitors with tracks of five minutes, 40 loads at once, 8 who want to listen.

    python tools/load.py                            # starts the page, then docs/load.json and docs/load.png
    python tools/load.py --sessions 8 --at-once 4 --listeners 2 --listen-s 10 -o /tmp/load

The page runs in a process of its own, with the checkpoint that is shipped, on 127.0.0.1. Written are the memory of that
process and the disk that it fills, how long each load took, what was refused and with which waiting time, and for every
listener how early or late each beat arrived. Everything is bounded, and the run ends by itself.
"""

import argparse
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from page_probe import ANSWERS_WITHIN_S, ROOT, Watch, hosting, machine, publish, upload, watching, write_track
from page_visitor import Visitor

PATIENCE_S = 1800.0
"""So long a visitor keeps coming back."""
MOST_MB = 1_500


@dataclass
class Record:
    """What the crowd saw, safe to write from many threads."""

    loads: list[dict[str, float]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    listeners: list[dict[str, Any]] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)


def listen(visitor: Visitor, seconds: float) -> dict[str, Any]:
    """Listen until `seconds` after the first beat: when it began, and how late each beat was."""
    asked_s, promised_s, started_s, arrivals, end = time.monotonic(), None, None, [], {}
    for message in visitor.stream(run=1, n_beats=None, seed=1, lead_in_s=4.0):
        now_s = time.monotonic()
        if message["kind"] == "waiting" and promised_s is None:
            promised_s = message["wait_s"]
        elif message["kind"] == "start":
            started_s = now_s
        elif message["kind"] == "beat":
            arrivals.append(now_s)
        elif message["kind"] in ("end", "error"):
            end = message
        if started_s and now_s - started_s > seconds:
            break
    if started_s is None:
        return {"refused": end.get("message", "")}
    beat_s = 60.0 / 120.0
    due = [started_s + 4.0 + k * beat_s for k in range(len(arrivals))]
    late = [arrived - when for arrived, when in zip(arrivals, due)]
    return {"waited_s": started_s - asked_s, "promised_s": promised_s, "beats": len(arrivals),
            "latest_s": max(late, default=seconds)}  # fmt: skip


def load(visitor: Visitor, path: str, record: Record) -> None:
    """Load until it is let in, coming back when it is told to."""
    began_s, tries = time.monotonic(), 0
    while time.monotonic() - began_s < PATIENCE_S:
        tries += 1
        answer = visitor.call("load", path=path)
        if "ok" in answer:
            record.loads.append({"seconds": time.monotonic() - began_s, "tries": tries})
            return
        record.refusals.append(answer["error"])
        told = re.search(r"again in (?:about )?(\d+|a) (second|minute)", answer["error"])
        if told is None:
            record.surprises.append(answer["error"])
            return
        number = 1.0 if told[1] == "a" else float(told[1])
        time.sleep(number * (60.0 if told[2] == "minute" else 1.0))
    record.surprises.append("a load was never let in")


def crowd(url: str, path: str, options: argparse.Namespace, record: Record) -> None:
    config = httpx.get(f"{url}/config", timeout=ANSWERS_WITHIN_S).json()
    with ThreadPoolExecutor(options.at_once) as pool:
        visitors = list(pool.map(lambda number: Visitor(url, config, f"visitor{number}"), range(options.sessions)))
        listeners = visitors[: options.listeners]
        for visitor in listeners:
            load(visitor, path, record)
        listening = ThreadPoolExecutor(options.listeners)
        heard = [listening.submit(listen, visitor, options.listen_s) for visitor in listeners]
        list(pool.map(lambda visitor: load(visitor, path, record), visitors[options.listeners :]))
        for one in heard:
            record.listeners.append(one.result(ANSWERS_WITHIN_S))
        listening.shutdown()


def run(options: argparse.Namespace) -> dict[str, Any]:
    record = Record()
    with tempfile.TemporaryDirectory(prefix="melformer-load-") as name:
        files = Path(name) / "files"
        with hosting(files) as host, watching(host, files) as watch:
            path = upload(host, write_track(Path(name)))
            time.sleep(5.0)
            crowd(host.url, path, options, record)
            time.sleep(5.0)
    return summary(options, record, watch)


def summary(options: argparse.Namespace, record: Record, watch: Watch) -> dict[str, Any]:
    waits = [one["seconds"] for one in record.loads]
    admitted = [one for one in record.listeners if "refused" not in one]
    return {
        "machine": machine(), "sessions": options.sessions, "at_once": options.at_once, "listen_s": options.listen_s,
        "loaded": len(record.loads), "load_median_s": float(np.median(waits)) if waits else None,
        "load_most_s": max(waits, default=None), "refusals": len(record.refusals),
        "refusal": record.refusals[0] if record.refusals else None,
        "memory_most_mb": max(mb for _, mb in watch.memory), "memory_first_mb": watch.memory[0][1],
        "memory_last_mb": watch.memory[-1][1], "disk_most_mb": max(mb for _, mb in watch.disk),
        "page_median_s": float(np.median(watch.answers_s)), "page_most_s": max(watch.answers_s),
        "admitted": len(admitted), "listeners": record.listeners,
        "fell_behind": sum(one["latest_s"] > 0.0 for one in admitted),
        "waited_longer_than_told": sum(one["waited_s"] > (one["promised_s"] or np.inf) for one in admitted),
        "surprises": record.surprises, **watch.curves(),
    }  # fmt: skip


def plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 5), sharex=True)
    above.plot(*zip(*result["memory"]), color="tab:blue", label="memory of the page, MB")
    above.axhline(MOST_MB, color="tab:blue", linestyle=":", label="its limit")
    above.plot(*zip(*result["disk"]), color="tab:orange", label="disk, MB")
    above.legend(loc="upper left")
    for number, one in enumerate(result["listeners"]):
        words = one["refused"] if "refused" in one else heard_words(one)
        below.text(0.01, 0.92 - 0.12 * number, f"listener {number + 1}: {words}", transform=below.transAxes, fontsize=8)
    below.set_yticks([])
    below.set_xlabel("seconds")
    n_listeners = len(result["listeners"])
    figure.suptitle(f"{result['sessions']} visitors, {result['at_once']} loads at once, {n_listeners} listeners")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def heard_words(listener: dict[str, Any]) -> str:
    """How long a listener waited, and how the latest of the beats came."""
    told = "" if listener["promised_s"] is None else f" ({listener['promised_s']:.0f} were told)"
    late_s = listener["latest_s"]
    when = f"{late_s:.1f} s late" if late_s > 0 else f"{-late_s:.1f} s early"
    return f"waited {listener['waited_s']:.0f} s{told}, the latest of {listener['beats']} beats came {when}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=40)
    parser.add_argument("--listeners", type=int, default=8)
    parser.add_argument("--listen-s", type=float, default=60.0)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "docs" / "load", help="without a suffix")
    options = parser.parse_args()
    result = run(options)
    publish(result, options.out, plot)
    bad = ("surprises", "fell_behind", "waited_longer_than_told")
    return 1 if any(result[name] for name in bad) or result["memory_most_mb"] > MOST_MB else 0


if __name__ == "__main__":
    sys.exit(main())
