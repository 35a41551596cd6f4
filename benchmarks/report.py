"""Tables and pictures of docs/explanation/speed.md from the measurements beside it: `python -m benchmarks.report`."""

import json
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from melformer.audio.grid import seconds_per_beat

DOCS = Path(__file__).resolve().parents[1] / "docs"
FOLDER = DOCS / "benchmark"
OURS, THEIRS = "#3b5bdb", "#adb5bd"


def main() -> None:
    """Write what there are measurements for."""
    page = (DOCS / "explanation" / "speed.md").read_text(encoding="utf-8")
    peers, growth = FOLDER / "peers.json", FOLDER / "growth.json"
    if peers.exists():
        result = json.loads(peers.read_text(encoding="utf-8"))
        page = _put(page, "peers", peers_text(result))
        _save(peers_figure(result), "peers")
    if growth.exists():
        result = json.loads(growth.read_text(encoding="utf-8"))
        page = _put(page, "growth", growth_text(result))
        _save(growth_figure(result), "growth")
    (DOCS / "explanation" / "speed.md").write_text(page, encoding="utf-8")


def _put(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name}: written by `python -m benchmarks.report` -->", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    assert pattern.search(page), f"docs/explanation/speed.md has lost its place for {name}"
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def _save(figure: Figure, name: str) -> None:
    figure.savefig(FOLDER / f"{name}.png", dpi=90)


def _where(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "transformers") if name in machine)
    busy = f"; load of the machine before: {machine['load_before']}" if machine["load_before"] > 0.3 else ""
    return f"{machine['processor']}, {machine['cores']} core{'s'[: machine['cores'] > 1]}; {versions}{busy}."


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(times: list[float], digits: int = 2) -> str:
    """Median (least–most)."""
    least, median, most = (f"{time:.{digits}f}" for time in times)
    return f"{median} ({least}–{most})"


def _time(system: dict[str, Any], job: str, threads: int, kind: str = "all_s") -> list[float] | None:
    found = system["times"].get(f"{job}, {threads} threads")
    return found and found[kind]


def peers_text(result: dict[str, Any]) -> str:
    """Both tables, and where they were measured."""
    job, machine = result["job"], result["machine"]
    all_threads = sorted({1, machine["cores"]}, reverse=True)
    continuing = [
        row
        for threads in all_threads
        for name, system in result["systems"].items()
        if (row := _continuing_row(name, system, threads, job["new_s"]))
    ]
    prompt_s = job["prompt_beats"] * seconds_per_beat(job["bpm"])
    coding = [
        row
        for threads in all_threads
        for name, system in result["systems"].items()
        if (row := _coding_row(name, system, threads, prompt_s))
    ]
    head = ["", "threads", "first sound s", "all s", "× real time", "4 takes s", "peak MB", "parameters", "weights MB"]
    first = _table(head, continuing)
    head = ["", "threads", f"encode {prompt_s:g} s", "× real time", f"decode {prompt_s:g} s", "× real time", "MB"]
    second = _table(head, coding)
    return f"{_where(machine)}\n\n{first}\n\n{second}"


def _continuing_row(name: str, system: dict[str, Any], threads: int, new_s: float) -> list[str] | None:
    whole = _time(system, "continue", threads)
    if whole is None:
        return None
    first, four = _time(system, "continue", threads, "first_s") if name == "Melformer" else whole, None
    four = _time(system, "continue 4", threads)
    return [
        name, str(threads), _spread(first or whole), _spread(whole), f"{new_s / whole[1]:.2g}",
        _spread(four) if four else "–", f"{system['peak_mb']['continue']:,.0f}",
        f"{system['n_parameters'] / 1e6:.0f} M", f"{system['weights_mb']:,.0f}",
    ]  # fmt: skip


def _coding_row(name: str, system: dict[str, Any], threads: int, prompt_s: float) -> list[str] | None:
    encode, decode = _time(system, "encode", threads), _time(system, "decode", threads)
    if encode is None or decode is None:
        return None
    cells = [cell for times in (encode, decode) for cell in (_spread(times), f"{prompt_s / times[1]:.2g}")]
    return [name, str(threads), *cells, f"{system['weights_mb']:,.0f}"]


def peers_figure(result: dict[str, Any]) -> Figure:
    """× real time of each system, with all cores where it was measured so: above 1 it can play along."""
    job, cores = result["job"], result["machine"]["cores"]
    prompt_s = job["prompt_beats"] * seconds_per_beat(job["bpm"])
    kinds = (("continue", job["new_s"]), ("encode", prompt_s), ("decode", prompt_s))
    figure = Figure(figsize=(10.0, 3.4), layout="constrained")
    for axis, (kind, seconds) in zip(figure.subplots(1, 3), kinds):
        bars = [
            (name, seconds / times[1], [seconds / times[2], seconds / times[0]])
            for name, system in result["systems"].items()
            if (times := _time(system, kind, cores) or _time(system, kind, 1))
        ][::-1]
        speeds = [speed for _, speed, _ in bars]
        errors = [[speed - low for _, speed, (low, _) in bars], [high - speed for _, speed, (_, high) in bars]]
        colours = [OURS if name == "Melformer" else THEIRS for name, _, _ in bars]
        axis.barh([name for name, _, _ in bars], speeds, color=colours, xerr=errors, capsize=3)
        axis.axvline(1.0, color="black", linewidth=0.8)
        axis.set(title=kind, xlabel="× real time")
    return figure


PANELS = (
    # rows, across, up, names of the lines, title
    ("prompt", "beats", ("first_s", "beat_s"), ("loop to first beat", "each beat"), "beats in the loop"),
    ("beats", "beats", ("beat_s",), ("each beat",), "beats generated"),
    ("beats", "beats", ("held_mb", "resident_mb"), ("state, MB", "process, MB"), "beats generated: memory"),
    ("takes", "takes", ("all_s",), ("8 beats of all",), "takes in one batch"),
    ("users", "users", ("all_s", "first_s", "gap_s"), ("all done", "first beat", "beat to beat"), "users at once"),
    ("rate", "rate", ("beat_s",), ("each beat",), "sample rate of the loop, Hz"),
)


def growth_figure(result: dict[str, Any]) -> Figure:
    """What grows with what; seconds unless said."""
    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    for axis, (part, across, ups, names, title) in zip(figure.subplots(2, 3).flat, PANELS):
        rows = result[part]
        for up, name in zip(ups, names):
            axis.plot([row[across] for row in rows], [row[up] for row in rows], "o-", label=name)
        axis.set(title=title, ylim=(0, None), xscale="log" if part == "beats" else "linear")
        axis.legend(fontsize=8)
    return figure


def growth_text(result: dict[str, Any]) -> str:
    """One line for each kind of growth: its ends, and their ratio beside the work's."""
    kinds = (
        ("prompt", "beats", "first_s", "beats in the loop: loop to first beat, s"),
        ("prompt", "beats", "beat_s", "beats in the loop: each new beat, s"),
        ("beats", "beats", "beat_s", "beats generated: each beat, s"),
        ("beats", "beats", "held_mb", "beats generated: state of the stream, MB"),
        ("beats", "beats", "resident_mb", "beats generated: memory of the process, MB"),
        ("takes", "takes", "all_s", "takes: 8 beats of all, s"),
        ("users", "users", "all_s", "users: 8 beats for everybody, s"),
        ("users", "users", "first_s", "users: to the first beat (median), s"),
        ("rate", "rate", "beat_s", "sample rate of the loop: each beat, s"),
    )
    rows = []
    for part, across, up, name in kinds:
        first, last = result[part][0], result[part][-1]
        work, cost = last[across] / first[across], last[up] / first[up]
        ends = f"{first[up]:.3g} → {last[up]:.3g}"
        rows.append([name, f"{first[across]:,} → {last[across]:,}", ends, f"{work:.3g}", f"{cost:.2g}"])
    head = ["what grows", "from → to", "cost", "work ×", "cost ×"]
    return f"{_where(result['machine'])}\n\n{_table(head, rows)}"


if __name__ == "__main__":
    main()
