"""What was wanted of Melformer beside what was measured, as one table in docs/results/README.md, by `make results`."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melformer import bench
from melformer.stems import STEMS

DOCS = Path(__file__).resolve().parents[1] / "docs"


@dataclass(frozen=True)
class Target:
    """A figure and its limits, in one unit; None: no limit on that side."""

    what: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""

    @property
    def wanted(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{_number(self.low)} to {_number(self.high)}{self.unit}"
        return f"≥ {_number(self.low)}{self.unit}" if self.low is not None else f"≤ {_number(self.high)}{self.unit}"

    @property
    def measured(self) -> str:
        return "not measured" if self.value is None else f"{_number(self.value)}{self.unit}"

    @property
    def verdict(self) -> str:
        if self.value is None:
            return ""
        low = self.low is None or self.value >= self.low
        return "met" if low and (self.high is None or self.value <= self.high) else "**missed**"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1e3 else f"{value:,.0f}"


def of_bench(results: dict[str, Any]) -> Iterator[Target]:
    """Speed and memory."""
    for speed in results["bench"]["speeds"]:
        median, p95 = bench.TARGETS[speed["bpm"]]
        at = f"{speed['bpm']:g} BPM, times real time"
        yield Target(f"{at}: median", speed["x_real_time_median"], median)
        yield Target(f"{at}: 95% of the beats", speed["x_real_time_p95"], p95)
        yield Target(f"{at}: every bar composed anew", speed["x_real_time_anew"], bench.ANEW)
        beat = f"{speed['bpm']:g} BPM: first new beat"
        yield Target(f"{beat}, stems at hand", speed["own_stems_s"], high=bench.OWN_STEMS_S, unit=" s")
        yield Target(f"{beat}, with separation", speed["first_beat_s"], high=bench.FIRST_BEAT_S, unit=" s")
    planning = next(part for part in results["parts"] if part["name"] == "planning")
    limit = planning["reading_ms"] + planning["multiplying_ms"]
    yield Target("composing a beat, of the machine's limit", 100 * limit / planning["beat_ms"], 50.0, unit="%")
    yield Target("process start to first beat", results["bench"]["cold_start_s"], high=bench.COLD_START_S, unit=" s")
    yield Target("four takes, times one", results["bench"]["takes_ratio"], high=bench.TAKES_RATIO)
    yield Target("checkpoint", results["bench"]["checkpoint_mb"], high=bench.CHECKPOINT_MB, unit=" MB")


def of_sound(results: dict[str, Any]) -> Iterator[Target]:
    """In a browser, from the click."""
    yield Target("click to sound", results["warm_median_ms"], high=300.0, unit=" ms")
    yield Target("click to a new beat", results["new_beat_median_ms"], high=1_500.0, unit=" ms")


def of_load(results: dict[str, Any]) -> Iterator[Target]:
    """A crowd at the page."""
    yield Target("memory of the page under a crowd", results["memory_most_mb"], high=bench.MEMORY_MB, unit=" MB")


def of_many(results: dict[str, Any]) -> Iterator[Target]:
    """One visitor, again and again."""
    yield Target(f"growth over {results['times']} continuations", results["grew_mb"], high=50.0, unit=" MB")


def of_codec(results: dict[str, Any]) -> Iterator[Target]:
    """The codes of recorded loops."""
    found = results["sets"]["real_a"]["systems"]["Melformer"]
    yield Target("codec, recorded loops: DAC's mel distance", found["mel_distance"], high=1.6)
    yield Target("codec, recorded loops: ViSQOL", found["visqol"], 3.5)
    yield Target("codec, recorded loops: chroma cosine", found["chroma_cosine"], 0.9)


def of_separation(results: dict[str, Any]) -> Iterator[Target]:
    """Over median filters."""
    for material, limits in (("engine", (8.0, 6.0, 5.0)), ("songs", (3.0, 3.0, 3.0))):
        for stem, limit in zip(STEMS, limits):
            gain = results[material]["Melformer"][stem]["over_baseline_db"]
            yield Target(f"separation, {material}: {stem} over median filters", gain, limit, unit=" dB")
    for stem, found in results["songs"]["Melformer"].items():
        yield Target(f"separation, songs: {stem} under median filters", 100 * found["below_baseline"], high=25.0,
                     unit="%")  # fmt: skip
    if again := results.get("recombination"):
        low, found, high = (again[name] for name in ("median filters", "Melformer", "true stems"))
        for measure, limit in (("mel_db", 65.0), ("chroma_cosine", 80.0)):
            share = (found[measure] - low[measure]) / (high[measure] - low[measure])
            what = f"made again from stems, {measure.split('_')[0]}: of the way from median filters to true stems"
            yield Target(what, 100 * share, limit, unit="%")


def of_continuation(results: dict[str, Any]) -> Iterator[Target]:
    """Real music, cut in two."""
    system = results["continuation"]["Melformer"]
    beats, far = system["beats"], system["embedding"]
    yield Target("beats that are new", 100 * beats["new_share"]["value"], 50.0, 90.0, "%")
    yield Target("takes that are the loop again", 100 * beats["loop_again"]["value"], high=5.0, unit="%")
    yield Target("energy that is the loop's own", 100 * system["copied_share"], 80.0, unit="%")
    yield Target("rise of the noise floor where new", beats["floor_rise_db"], high=1.0, unit=" dB")
    yield Target("largest jump in level", beats["level_jump_db"], high=3.0, unit=" dB")
    for name in ("groove_similarity", "chroma_cosine", "loudness_drift_db"):
        words = name.split("_")[0]
        yield Target(f"clips on which {words} is nearer than looping", 100 * system["manner_nearer"][name], 60.0,
                     unit="%")  # fmt: skip
    for stem, found in system["development"].items():
        yield Target(f"development of {stem}, distance from people's", found["distance"], high=0.2)
    yield Target("independent network: Fréchet distance, times the looped prompt's", far["frechet"]["value"], high=1.05)
    yield Target("independent network: over the rules' line", far["over_rules"]["value"], high=0.0)
    yield Target("independent network: cosine over the looped prompt's", far["cosine_over_looped"]["value"], -0.007)


def of_pointer(results: dict[str, Any]) -> Iterator[Target]:
    """Choices on held-out passages, by true stems."""
    for stem, found in results["choices"]["true stems"].items():
        under = 100 * found["under_best_predictor_elsewhere_conditioned"]
        yield Target(f"nats of {stem} under the best predictor, not repeating", under, 15.0, unit="%")
        yield Target(f"likeliest choice of {stem} right in bars that repeat", 100 * found["right_in_repeating_bars"],
                     98.0, unit="%")  # fmt: skip
        if found["n_must_move"]:
            yield Target(f"{stem} transposed where only that is right", 100 * found["moved_where_it_must"], 33.3,
                         unit="%")  # fmt: skip


def of_variation(results: dict[str, Any]) -> Iterator[Target]:
    """What is asked, against what is measured."""
    for stem in STEMS:
        yield Target(f"variation of {stem}: rank correlation", results[stem]["rank_correlation"], 0.9)
        off = max(abs(a - b) for a, b in zip(results["asked"], results[stem]["measured"]))
        yield Target(f"variation of {stem}: most off", off, high=0.15)
        at_one_lag = 100 * results["takes"][stem]["at_one_lag"]
        yield Target(f"takes whose {stem} follow the loop at one lag", at_one_lag, high=0.0, unit="%")
    found = results["harmony"]
    way = 100 * (found["takes"] - found["at random"]) / (found["loop"] - found["at random"])
    yield Target("bass and chords agree: of the way from chance to the loop's own", way, 100.0, unit="%")
    yield Target("closed loops: seam, times an ordinary bar line", results["closing"]["seam_median"], high=1.1)


def of_tempo(results: dict[str, Any]) -> Iterator[Target]:
    """Tempo, metre and downbeat."""
    sets = results["sets"]
    whole, cuts = sets["recorded loops, whole"], sets["recorded loops, played round and cut anywhere"]
    composed = sets["composed passages, 1 to 8 whole bars"]
    composed_cuts = sets["composed passages, played round and cut anywhere"]
    yield Target(f"tempo right, {whole['n']} recorded loops", whole["n"] * whole["right"], 12.0)
    yield Target("tempo right, cuts of them", 100 * cuts["right"], 90.0, unit="%")
    yield Target("tempo wrong, cuts of them", 100 * cuts["wrong"], high=3.0, unit="%")
    yield Target("tempo right, the loops in silence", 100 * sets["recorded loops in silence"]["right"], 100.0, unit="%")
    yield Target("tempo right, composed passages", 100 * composed["right"], 90.0, unit="%")
    yield Target("tempo right, cuts of them", 100 * composed_cuts["right"], 90.0, unit="%")
    yield Target("tempo right, songs", 100 * sets["songs, their first 24 beats"]["right"], 90.0, unit="%")
    for name, found in (("whole", composed), ("cut", composed_cuts)):
        yield Target(f"metre right, composed, {name}", 100 * found["metre"], 85.0, unit="%")
        yield Target(f"downbeat right, composed, {name}", 100 * found["downbeat"], 90.0, unit="%")
    for name, found in (("recorded, whole", whole), ("recorded, cut", cuts), ("composed, whole", composed),
                        ("composed, cut", composed_cuts)):  # fmt: skip
        yield Target(f"first beat within 30 ms, {name}", 100 * found["first_beat"], 97.0, unit="%")
    yield Target("confidence: expected calibration error", results["calibration"]["expected_error"], high=0.05)
    yield Target("sure (0.9) of a wrong tempo", 100 * results["calibration"]["sure_and_wrong"], high=0.5, unit="%")


TARGETS: dict[str, Callable[[dict[str, Any]], Iterator[Target]]] = {
    "results/bench.json": of_bench, "results/page_sound.json": of_sound, "results/page_many.json": of_many,
    "load.json": of_load, "results/codec.json": of_codec, "results/separation.json": of_separation,
    "results/continuation.json": of_continuation, "results/pointer.json": of_pointer,
    "results/variation.json": of_variation, "results/tempo.json": of_tempo,
}  # fmt: skip
"""Files of docs/ by what is read from them."""


def targets_text(docs: Path = DOCS) -> str:
    """One figure a line, with what was wanted; below those of a file its name and the command that measured them."""
    lines = ["| what | wanted | measured | |", "| --- | --- | --- | --- |"]
    for name, read in TARGETS.items():
        path = docs / name
        if not path.exists():
            lines.append(f"| {path.name} | | not measured | |")
            continue
        results = json.loads(path.read_text(encoding="utf-8"))
        lines += [f"| {t.what} | {t.wanted} | {t.measured} | {t.verdict} |" for t in read(results)]
        lines.append(f"| [{path.name}]({Path('..') / name}), {_origin(results, path.stem)} | | | |")
    return "\n".join(lines)


def _origin(results: dict[str, Any], name: str) -> str:
    """Command, machine and date of a file of results; scripts that `make` calls write no command."""
    when = f", {results['date']}" if "date" in results else ""
    return f"`{results.get('command', f'make {name}')}`, {results['machine']}{when}"
