"""Tables of how continuations and stems sound, from files of docs/results."""

import json
from typing import Any


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


def stems_text(results: dict[str, Any]) -> str:
    """How much better the shipped separator hears than the mix, and than median filters: a line for each material."""
    materials = {"engine": "held-out finished mixes of the engine", "songs": "excerpts of songs that people made"}
    rows = []
    for material, words in materials.items():
        stems = results[material]["Melformer"]
        gains = [
            f"{figure(s['sdr_improvement_db'], 1)} dB, {'+' if s['over_baseline_db'] >= 0 else ''}"
            f"{figure(s['over_baseline_db'], 1)}; {figure(s['below_baseline'], percent=True)}"
            for s in stems.values()
        ]
        rows.append([f"{max(s['n_mixes'] for s in stems.values()):.0f} {words}", *gains])
    return f"{markdown(['', *results['engine']['Melformer']], rows)}\n\n{source(results)}"


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
    pairs = ("loop", "takes", "one place", "two places", "transposed apart", "at random")
    agree = markdown(["bass and chords", *pairs],
                     [["cosine of pitch classes", *(figure(results["harmony"][pair]) for pair in pairs)]])  # fmt: skip
    return f"{markdown(header, rows)}\n\n{own}\n\n{agree}\n\n{results['n_clips']} loops: {source(results)}"


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
