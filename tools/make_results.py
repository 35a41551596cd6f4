#!/usr/bin/env python3
"""Tables and pictures of the documents from the measurements in docs/results: `make results`.

A table stands between `<!-- NAME: … -->` and `<!-- end of NAME -->` and is written by no hand.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from quality_tables import (
    continuation_text,
    development_text,
    loops_text,
    pointer_text,
    separation_text,
    sound_text,
    stems_text,
    variation_text,
)
from speed_tables import bench_text, codec_text, parts_text, speed_text, tempo_text
from targets import targets_text

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = DOCS / "results"

TEXTS = {
    "../README.md": {"speed": speed_text, "sound": sound_text},
    "explanation/speed.md": {"bench": bench_text, "parts": parts_text},
    "explanation/codec.md": {"codec": codec_text},
    "explanation/evaluation.md": {
        "continuation": continuation_text,
        "loops": loops_text,
        "songs": continuation_text,
        "separation": separation_text,
    },
    "explanation/stems.md": {"stems": stems_text, "variation": variation_text, "pointer": pointer_text},
    "explanation/corpus.md": {"development": development_text},
    "explanation/tempo.md": {"tempo": tempo_text},
}


FILES = {
    "speed": "bench", "parts": "bench", "sound": "continuation", "loops": "continuation_loops",
    "songs": "continuation_songs", "stems": "separation",
}  # fmt: skip
"""Tables whose file has another name."""


def put(page: str, name: str, text: str, target: str = "results") -> str:
    """The page with a table replaced that a target of make writes. Errors: ValueError where it has no place for it."""
    begin, end = f"<!-- {name}: written by `make {target}` -->", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has lost its place for {name}: {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def filled(page: str, name: str = "explanation/evaluation.md", folder: Path = RESULTS) -> str:
    """The page of this name with the table of every measurement in a folder."""
    for table, text in TEXTS[name].items():
        path = folder / f"{FILES.get(table, table)}.json"
        if path.exists():
            page = put(page, table, text(json.loads(path.read_text(encoding="utf-8"))))
    return page


def frechet_figure(systems: dict[str, Any]) -> Any:
    """Share of new beats against the relative Fréchet distance, with 5 and 95% points, and the line of the rules.

    `systems` are those of a results file's `continuation`: a system under the line is better than rules. The truth, at
    distance 0, is left out.
    """
    from matplotlib.figure import Figure

    from melformer.evaluate.protocol import LOOPED, MELFORMER, TRUTH
    from melformer.evaluate.systems.rules import RULES

    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axis = figure.subplots()
    summaries = {name: system for name, system in systems.items() if system["embedding"] and name != TRUTH}
    rows = {name: (s["beats"]["new_share"], s["embedding"]["frechet"]) for name, s in summaries.items()}
    of_rules = [row for name, row in rows.items() if name in (LOOPED, *RULES)]
    of_model = [row for name, row in rows.items() if name.startswith(MELFORMER)]
    for label, points, colour in (("looping and the rules", of_rules, "grey"), ("Melformer", of_model, "tab:blue")):
        line = sorted((new["value"], far["value"]) for new, far in points)
        axis.plot([x for x, _ in line], [y for _, y in line], color=colour, linewidth=0.8, label=label)
    for name, (new, far) in rows.items():
        spans = [[[part["value"] - part["low"]], [part["high"] - part["value"]]] for part in (new, far)]
        point = (new["value"], far["value"])
        axis.errorbar(*point, xerr=spans[0], yerr=spans[1], fmt="o", markersize=4, linewidth=0.8)
        axis.annotate(name, point, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axis.set(xlabel="share of new beats", ylabel="Fréchet distance to the truth, x looped")
    axis.legend(loc="lower right", fontsize=8)
    return figure


def main() -> int:
    """Write pages and pictures."""
    from melformer.evaluate.plots import save

    for name in TEXTS:
        page = DOCS / name
        page.write_text(filled(page.read_text(encoding="utf-8"), name), encoding="utf-8")
    page = RESULTS / "README.md"
    page.write_text(put(page.read_text(encoding="utf-8"), "targets", targets_text()), encoding="utf-8")
    path = RESULTS / "continuation.json"
    if path.exists():
        save(frechet_figure(json.loads(path.read_text(encoding="utf-8"))["continuation"]), RESULTS / "continuation.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
