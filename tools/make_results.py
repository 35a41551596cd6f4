#!/usr/bin/env python3
"""Tables and pictures of the documents from the measurements in docs/results: `make results`.

A table stands between `<!-- NAME: … -->` and `<!-- end of NAME -->` and is written by no hand.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from targets import targets_text

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = DOCS / "results"


def figure(value: float | None, digits: int = 2, percent: bool = False) -> str:
    """A number as it is printed; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{100 * value:.0f}%" if percent else f"{value:.{digits}f}"
    return text.replace("-", "−")


def spread(interval: dict[str, float | None] | None, digits: int = 2, percent: bool = False) -> str:
    """A figure with its 5% and 95% points."""
    if interval is None or interval["value"] is None:
        return "–"
    value, low, high = (figure(interval[key], digits, percent) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def source(results: dict[str, Any]) -> str:
    """Where figures come from, in a line."""
    return f"`{results['command']}`, {results['machine']}, commit {results['commit']}, {results['date']}."


def continuation_text(results: dict[str, Any]) -> str:
    """One system a line: what is new, an independent listener, groove, chroma and drift beside the truth's."""
    rows = []
    for name, system in results["continuation"].items():
        beats, far, manner = system["beats"], system["embedding"], system["manner"]
        row = [
            name,
            figure(beats["new_share"]["value"], percent=True),
            figure(beats["loop_again"]["value"], percent=True),
        ]
        row += [figure(beats["floor_rise_db"], 1), figure(beats["level_jump_db"], 1)]
        row += [
            spread(far[key], 3 if "cosine" in key else 2) for key in ("frechet", "over_rules", "cosine_over_looped")
        ]
        rows.append([*row, ", ".join(figure(manner[key], 3) for key in manner)])
    header = [
        "system",
        "new",
        "loop again",
        "floor dB",
        "jump dB",
        "Fréchet, x looped",
        "over rules",
        "cosine over looped",
    ]
    clips = next(iter(results["continuation"].values()))["embedding"]["n_clips"]
    tables = [markdown([*header, "groove, chroma, drift off"], rows), *_of_sources(results["continuation"])]
    return "\n\n".join([*tables, f"{clips} clips: {source(results)}"])


def loops_text(results: dict[str, Any]) -> str:
    """Whole loops, which nobody continued: what is new, and how much stays as in the loop, one system a line."""
    columns = {
        "grid F1": "onset_grid_f1", "groove": "groove_similarity", "chroma": "chroma_cosine", "key": "key_agreement",
        "LUFS drift": "loudness_drift_db", "seam click": "seam_click",
    }  # fmt: skip
    rows = [
        [
            name, *(figure(system["beats"][key]["value"], percent=True) for key in ("new_share", "loop_again")),
            *(figure(system["beats"][key], 1) for key in ("floor_rise_db", "level_jump_db")),
            *(figure(system["mean"][key]) for key in columns.values()),
        ]
        for name, system in results["continuation"].items()
    ]  # fmt: skip
    table = markdown(["system", "new", "loop again", "floor dB", "jump dB", *columns], rows)
    return f"{table}\n\n{results['n_loops']} loops: {source(results)}"


def _of_sources(systems: dict[str, Any]) -> list[str]:
    """How systems that state their sources develop, one stem a line, beside what people do; a table, or none."""
    from melformer.evaluate.metrics.development import CLASSES
    from melformer.evaluate.summary import PEOPLE

    rows, people = [], json.loads(PEOPLE.read_text(encoding="utf-8"))["people"]
    for name, system in systems.items():
        for stem, found in (system.get("development") or {}).items():
            shares = [figure(found["shares"][one], percent=True) for one in CLASSES]
            rows.append([name, stem, *shares, figure(found["distance"])])
    if not rows:
        return []
    rows += [
        ["people", stem, *(figure(shares[one], percent=True) for one in CLASSES), ""] for stem, shares in people.items()
    ]
    return [markdown(["system", "stem", *CLASSES, "from people's"], rows)]


def separation_text(results: dict[str, Any]) -> str:
    """One separator and stem a line, then the next beats made again."""
    rows = []
    for material in ("engine", "songs"):
        for name, stems in results.get(material, {}).items():
            for stem, s in stems.items():
                numbers = [figure(s[key], 1) for key in ("sdr_improvement_db", "sdr_db")] + [figure(s["leakage"])]
                over = [figure(s["over_baseline_db"], 1), figure(s["below_baseline"], percent=True)]
                rows.append([material, name, stem, *numbers, *over, f"{s['n_mixes']:.0f}"])
    header = [
        "mixes of",
        "separator",
        "stem",
        "SDRi dB",
        "SDR dB",
        "leakage",
        "over filters dB",
        "below filters",
        "mixes",
    ]
    parts = [markdown(header, rows)]
    if again := results.get("recombination"):
        rows = [[name, figure(s["mel_db"]), figure(s["chroma_cosine"], 3)] for name, s in again.items()]
        parts.append(markdown(["the next 16 beats from stems of", "mel dB", "chroma"], rows))
    return "\n\n".join([*parts, source(results)])


def development_text(results: dict[str, Any]) -> str:
    """Who and how many beats heard a line: shares of the classes of each stem's next beats, then what is left of it."""
    heard_of = results["by_beats_heard"]
    people, rows = heard_of["people"], []
    for n in people:
        for name, heard in heard_of.items():
            shares = heard[n]["shares"]
            row = [
                ", ".join(figure(stem["loop order"], percent=True) for stem in shares.values()),
                ", ".join(figure(stem["another beat"], percent=True) for stem in shares.values()),
                ", ".join(figure(stem["new"], percent=True) for stem in shares.values()),
                ", ".join(figure(_distance(of, people[n]["shares"][stem])) for stem, of in shares.items()),
                figure(heard[n]["loop_again"], percent=True),
                ", ".join(figure(share, percent=True) for share in heard[n]["leaving"].values()),
            ]
            rows.append([n, name, *row])
    header = ["heard", "who", "loop order: drums, bass, other", "another beat", "new", "from people's"]
    table = markdown([*header, "the loop again", "stems that leave the loop in a beat: 0, 1, 2, 3"], rows)
    counts = ", ".join(f"{name}: {heard['16']['n_pieces']} pieces" for name, heard in heard_of.items())
    return f"{table}\n\n{counts}; {source(results)}"


def _distance(shares: dict[str, float], others: dict[str, float]) -> float:
    """Total variation distance, 0 to 1."""
    return 0.5 * sum(abs(share - others[name]) for name, share in shares.items())


def codec_text(results: dict[str, Any]) -> str:
    """One system a line for each set, then one codebook a line."""
    columns = {"kbps": ("kbps", 1), "mel_distance": ("mel", 2), "stft_distance": ("STFT", 2),
               "si_sdr_db": ("SI-SDR dB", 1), "loudness_error_db": ("LUFS err", 2), "onset_f1": ("onset F1", 2),
               "chroma_cosine": ("chroma", 2), "pitch_error_cents": ("cents", 1)}  # fmt: skip
    rows, books = [], []
    for name, found in results["sets"].items():
        for system, scores in found["systems"].items():
            numbers = [figure(scores[key], digits) for key, (_, digits) in columns.items()]
            rows.append([f"{name}, {found['n_clips']} loops", system, *numbers])
        codes = found["codes"]
        for i, book in enumerate(codes["codebooks"]):
            stable = [codes["stability"][key][i] for key in ("half_sample", "noise_60db", "louder_half_db")]
            shares = (book["used_share"], book["entropy_share"], *stable)
            books.append([name, str(i + 1), *(figure(share, percent=True) for share in shares)])
    head = ["set", "codebook", "entries used", "entropy of the maximum"]
    stable_head = ["stable: half a sample", "noise at −60 dB", "+0.5 dB"]
    systems = markdown(["set", "system", *(name for name, _ in columns.values())], rows)
    return "\n\n".join([systems, markdown([*head, *stable_head], books), source(results)])


def bench_text(results: dict[str, Any]) -> str:
    """One measure a line, at both tempi; bold where its target is met."""
    found = results["bench"]
    slow, fast = found["speeds"]

    def row(name: str, wanted: str, key: str, targets: list[float], unit: str = "", digits: int = 1) -> list[str]:
        higher = key.startswith("x_")
        cells = []
        for speed, target in zip((slow, fast), targets):
            met = speed[key] >= target if higher else speed[key] <= target
            text = figure(speed[key], digits) + unit
            cells.append(f"**{text}**" if met else text)
        return [name, wanted, *cells]

    def one(name: str, wanted: str, value: float, limit: float, unit: str = "", digits: int = 1) -> list[str]:
        text = figure(value, digits) + unit
        return [name, wanted, f"**{text}**" if value <= limit else text, ""]

    rows = [
        row("× real time, median", "8, 5", "x_real_time_median", [8, 5]),
        row("× real time that 95% of the beats reach", "5, 3", "x_real_time_p95", [5, 3]),
        row("× real time where every bar leaves the loop", "2, 2", "x_real_time_anew", [2, 2]),
        row("16 beats heard to first new beat", "1 s", "first_beat_s", [1, 1], " s", 2),
        row("the same where stems are given", "0.5 s", "own_stems_s", [0.5, 0.5], " s", 2),
        one("from start to first beat", "6 s", found["cold_start_s"], 6, " s"),
        one("four takes, × the time of one", "1.5", found["takes_ratio"], 1.5, "", 2),
        one("peak memory", "1,500 MB", found["peak_memory_mb"], 1500, " MB", 0),
        one("weights", "80 MB", found["checkpoint_mb"], 80, " MB", 0),
    ]
    tables = [markdown(["", "target at 120, 174 BPM", "120 BPM", "174 BPM"], rows)]
    quiet = f"one thread, load {figure(found['load_average'], 1)} before"
    tables.append(f"Medians of its runs, {quiet}: {source(results)}")
    if turns := results.get("in turns"):
        keys = {
            "120 BPM: × real time, median": lambda run: run["speeds"][0]["x_real_time_median"],
            "174 BPM: × real time, median": lambda run: run["speeds"][1]["x_real_time_median"],
            "from start to first beat, s": lambda run: run["cold_start_s"],
            "four takes, × the time of one": lambda run: run["takes_ratio"],
        }  # fmt: skip
        compared = [[name, *(figure(of(run), 1) for run in turns.values())] for name, of in keys.items()]
        tables += [
            "Earlier code, which did not separate loops, run in turns with this:",
            markdown(["", *turns], compared),
        ]
    return "\n\n".join(tables)


def speed_text(results: dict[str, Any]) -> str:
    """What a player notices, in a sentence."""
    found = results["bench"]
    speed, size = found["speeds"][0], figure(found["peak_memory_mb"], 0)
    return (
        f"On one core of a CPU ({results['machine']}) a loop of 16 beats at 120 BPM is continued "
        f"{figure(speed['x_real_time_median'], 0)} times as fast\nas it plays; the first new beat is there "
        f"{figure(speed['first_beat_s'], 1)} s after the request. It takes {size} MB of memory, and the weights "
        f"{figure(found['checkpoint_mb'], 0)} MB\n"
        "([all figures, the command, and other systems](docs/explanation/speed.md))."
    )


def sound_text(results: dict[str, Any]) -> str:
    """What a listener finds, in a sentence."""
    system = results["continuation"]["Melformer"]
    new, again = (figure(system["beats"][key]["value"], percent=True) for key in ("new_share", "loop_again"))
    far = system["embedding"]
    distance, cosine = figure(far["frechet"]["value"]), far["cosine_over_looped"]["value"]
    return (
        f"Of the beats that it adds {new} are unlike every beat of the loop; {again} of the takes are the loop again.\n"
        "To an independent network their Fréchet distance to what the music really did next is "
        f"{distance} times\nthat of the repeated loop, and their "
        f"mean cosine with it {figure(abs(cosine), 3)} {'higher' if cosine >= 0 else 'lower'}."
    )


def parts_text(results: dict[str, Any]) -> str:
    """One part of a beat's computing a line, beside its limits."""
    rows = []
    for part in results["parts"]:
        limits = [figure(part[key] or None) for key in ("reading_ms", "multiplying_ms")]
        rows.append([part["name"], figure(part["share"], percent=True), figure(part["beat_ms"], 1), *limits])
    return markdown(["of a beat at 120 BPM", "share", "ms", "least to read, ms", "least to multiply, ms"], rows)


def variation_text(results: dict[str, Any]) -> str:
    """Shares that leave the loop for each share that was asked for, one stem a line."""
    rows = [
        [stem, *(figure(share) for share in results[stem]["measured"]), figure(results[stem]["rank_correlation"])]
        for stem in ("drums", "bass", "other")
    ]
    header = ["asked", *(figure(asked) for asked in results["asked"]), "rank correlation"]
    columns = ("transposed", "silent", "largest_lag_share", "at_one_lag")
    takes = [[stem, *(figure(row[key], percent=True) for key in columns)] for stem, row in results["takes"].items()]
    names = ["takes at the default", "transposed", "silent", "of what leaves the loop, at the commonest lag"]
    own = markdown([*names, "takes with over half at one lag"], takes)
    return f"{markdown(header, rows)}\n\n{own}\n\n{results['n_clips']} loops: {source(results)}"


def pointer_text(results: dict[str, Any]) -> str:
    """Nats a choice beside predictors that count, one of them a line; then how often the pointer is right."""
    found = results["choices"]["separated"]
    parts = ("repeating", "other")
    header = ["nats a choice", *(f"{stem}, {part}" for stem in found for part in parts)]
    rows = [
        [name, *(figure(found[stem]["nats"][name][part]) for stem in found for part in parts)]
        for name in found["drums"]["nats"]
    ]
    keys = {
        "right in bars that repeat": "right_in_repeating_bars",
        "right where one half beat repeats": "right_where_repeating", "right elsewhere": "right_elsewhere",
        "transposed where only that is right": "moved_where_it_must",
    }  # fmt: skip
    shares = [[name, *(figure(row[key], percent=True) for row in found.values())] for name, key in keys.items()]
    return f"{markdown(header, rows)}\n\n{markdown(['the likeliest choice', *found], shares)}\n\n{source(results)}"


def tempo_text(results: dict[str, Any]) -> str:
    """One set a line, then fifths by confidence."""
    columns = ("right", "octave", "wrong", "first_beat", "metre", "downbeat")
    rows = [
        [name, str(s["n"]), *(figure(s.get(key), percent=True) for key in columns)]
        for name, s in results["sets"].items()
    ]
    sets = markdown(["clips", "number", *(key.replace("_", " ") for key in columns)], rows)
    trust = results["calibration"]
    fifths = [
        [str(i), figure(fifth["confidence"]), figure(fifth["right"], percent=True)]
        for i, fifth in enumerate(trust["fifths"], 1)
    ]
    others = trust["expected_errors_of_others"].items()
    also = "".join(f", of {key.replace('_', ' ')} {figure(value, 3)}" for key, value in others)
    said = (
        f"Expected calibration error {figure(trust['expected_error'], 3)} over {trust['n']:,} clips{also}; 0.9 or more "
        f"on a wrong tempo: {figure(100 * trust['sure_and_wrong'], 1)}%, on half or double: "
        f"{figure(100 * (trust['sure_and_not_right'] - trust['sure_and_wrong']), 1)}%. "
        f"{figure(results['seconds_of_a_core_for_8_s'])} s of a core for 8 s of sound."
    )
    table = markdown(["fifth by confidence", "confidence", "right"], fifths)
    return "\n\n".join([sets, table, said, source(results)])


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
    "explanation/stems.md": {"variation": variation_text, "pointer": pointer_text},
    "explanation/corpus.md": {"development": development_text},
    "explanation/tempo.md": {"tempo": tempo_text},
}


FILES = {
    "speed": "bench", "parts": "bench", "sound": "continuation", "loops": "continuation_loops",
    "songs": "continuation_songs",
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
