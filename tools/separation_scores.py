"""The separation's part of the evaluation: any separator on mixes whose true stems are known.

    python tools/separation_scores.py --engine 100 --songs SET_D [--recombine 60] [-o results.json]

Two kinds of mixes: held-out passages of our own engine, and excerpts of songs that people made (set (d)). Beside the
separator stand median filters with a split at 180 Hz, the true stems, and the mix given as every stem.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import recombination
from separation_metrics import score_separation
from songs import read_excerpts

from melformer.audio.grid import beat_edges
from melformer.audio.waveform import Waveform
from melformer.errors import MelformerError
from melformer.evaluate.metrics.comparison import nanmean
from melformer.evaluate.results import write_results
from melformer.evaluate.sets import FIRST_HELD_OUT_SEED
from melformer.evaluate.systems.references import looped
from melformer.evaluate.systems.rules import median_filter_stems
from melformer.evaluate.tables import table
from melformer.stems import STEMS

BASELINE, TRUE_STEMS, THE_MIX = "median filters", "true stems", "the mix itself"
MEASURES = ("sdr_improvement_db", "sdr_db", "leakage")
N_PROMPT = N_NEW = 16


class StemsByName(Protocol):
    """Three waveforms by name: a dictionary, or `melformer.stems.Stems`."""

    def __getitem__(self, name: str, /) -> Waveform: ...


Separator = Callable[[Waveform, float], StemsByName]
"""From a mix and its BPM to its stems."""


@dataclass(frozen=True, eq=False)
class Mix:
    """A mix with its true stems; `notes` by stem where they are known."""

    name: str
    bpm: float
    stems: dict[str, Waveform]
    notes: Mapping[str, np.ndarray] | None = None

    def waveform(self) -> Waveform:
        """The sum of the stems."""
        return Waveform(np.sum([stem.samples for stem in self.stems.values()], axis=0), self.stems["drums"].sample_rate)


@dataclass(frozen=True)
class SeparationRow:
    """One separator on one mix: {stem: {measure: value}}."""

    mix: str
    scores: dict[str, dict[str, float]]


def engine_mixes(n_mixes: int, n_beats: int = N_PROMPT + N_NEW, first_seed: int = FIRST_HELD_OUT_SEED) -> Iterator[Mix]:
    """Finished mixes of held-out passages of the engine, with their stems through the master and their notes."""
    from melformer.corpus import compose, render_stems
    from melformer.corpus.notes import passage_notes

    for seed in range(first_seed, first_seed + n_mixes):
        passage = compose(seed, n_beats=n_beats)
        yield Mix(f"engine_{seed}", passage.bpm, render_stems(passage)[1], passage_notes(passage))


def song_mixes(folder: str | Path) -> Iterator[Mix]:
    """Excerpts of set (d). Errors: AudioError where none is there."""
    for excerpt, bpm, stems in read_excerpts(folder):
        yield Mix(f"{excerpt.song} {excerpt.start_s:g} s", bpm, stems)


def measure_separators(mixes: Iterable[Mix], separators: Mapping[str, Separator]) -> dict[str, list[SeparationRow]]:
    """Every separator on every mix; a name may also be `TRUE_STEMS` or `THE_MIX`, whose function is not called."""
    rows: dict[str, list[SeparationRow]] = {name: [] for name in separators}
    for mix in mixes:
        whole = mix.waveform()
        truth = {name: stem.samples for name, stem in mix.stems.items()}
        for name, separator in separators.items():
            made = _made(name, separator, mix, whole)
            estimate = {stem: made[stem].samples for stem in STEMS}
            rows[name].append(SeparationRow(mix.name, score_separation(truth, estimate, whole.sample_rate)))
    return rows


def _made(name: str, separator: Separator, mix: Mix, whole: Waveform) -> StemsByName:
    if name == TRUE_STEMS:
        return mix.stems
    return dict.fromkeys(STEMS, whole) if name == THE_MIX else separator(whole, mix.bpm)


def reference_separators() -> dict[str, Separator]:
    """Median filters with a split at 180 Hz, the true stems, and the mix as every stem."""

    def known(mix: Waveform, bpm: float) -> StemsByName:
        raise NotImplementedError("taken from the mix, not computed")

    return {BASELINE: lambda mix, bpm: median_filter_stems(mix), TRUE_STEMS: known, THE_MIX: known}


def summarise(rows: Mapping[str, list[SeparationRow]]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by separator, stem and measure; `below_baseline` is the share of mixes where it is worse than filters."""
    return {
        name: {stem: _stem_summary(found, rows.get(BASELINE), stem) for stem in STEMS} for name, found in rows.items()
    }


def _stem_summary(found: list[SeparationRow], baseline: list[SeparationRow] | None, stem: str) -> dict[str, float]:
    summary = {measure: _median([row.scores[stem][measure] for row in found]) for measure in MEASURES}
    summary["n_mixes"] = float(sum(not np.isnan(row.scores[stem]["sdr_improvement_db"]) for row in found))
    if baseline:
        key = "sdr_improvement_db"
        gains = [a.scores[stem][key] - b.scores[stem][key] for a, b in zip(found, baseline, strict=True)]
        summary["over_baseline_db"] = _median(gains)
        summary["below_baseline"] = nanmean([float(gain < 0) for gain in gains if not np.isnan(gain)])
    return summary


def _median(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")


def measure_recombination(mixes: Iterable[Mix], separators: Mapping[str, Separator]) -> dict[str, dict[str, float]]:
    """The next 16 beats made again from the stems of the first 16, by separator, and the prompt played round.

    Passages that go on as the loop are left out. Stems are of the prompt alone, in mono at 44.1 kHz.
    """
    scores: dict[str, list[recombination.RecombinationScores]] = {name: [] for name in ("prompt looped", *separators)}
    for mix in mixes:
        assert mix.notes is not None
        if recombination.is_loop_again(mix.notes, N_PROMPT, N_NEW):
            continue
        prompt, truth = _halves(mix)
        whole = prompt.waveform()
        answers = {"prompt looped": looped(whole, mix.bpm, N_NEW)}
        for name, separator in separators.items():
            made = _made(name, separator, prompt, whole)
            answers[name] = recombination.recombine({s: made[s] for s in STEMS}, mix.notes, mix.bpm, N_PROMPT, N_NEW)
        for name, answer in answers.items():
            scores[name].append(recombination.score_recombination(truth, answer, mix.bpm, N_NEW))
    return {name: _recombination_summary(found) for name, found in scores.items()}


def _halves(mix: Mix) -> tuple[Mix, Waveform]:
    """The prompt's stems in mono, and the true mix that follows."""
    edge, stop = beat_edges(N_PROMPT + N_NEW, mix.bpm, mix.stems["drums"].sample_rate)[[N_PROMPT, -1]]
    mono = {name: stem.mono() for name, stem in mix.stems.items()}
    prompt = Mix(mix.name, mix.bpm, {name: stem.slice(0, int(edge)) for name, stem in mono.items()}, mix.notes)
    whole = Mix(mix.name, mix.bpm, mono).waveform()
    return prompt, whole.slice(int(edge), min(whole.n_samples, int(stop)))


def _recombination_summary(found: list[recombination.RecombinationScores]) -> dict[str, float]:
    columns = {key: [asdict(score)[key] for score in found] for key in ("mel_db", "chroma_cosine")}
    return {**{key: nanmean(values) for key, values in columns.items()}, "n_mixes": float(len(found))}


def way_to_true_stems(recombined: Mapping[str, Mapping[str, float]], name: str, measure: str) -> float:
    """How much of the way from median filters (0) to true stems (1) a separator goes."""
    low, high, value = (recombined[system][measure] for system in (BASELINE, TRUE_STEMS, name))
    return (value - low) / (high - low) if high != low else float("nan")


def separation_table(summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A separator and a stem a line."""
    keys = (*MEASURES, "over_baseline_db", "below_baseline", "n_mixes")
    header = ["separator", "stem", "SDRi dB", "SDR dB", "leakage", "over filters dB", "below filters", "mixes"]
    rows = [
        [name, stem, *(s.get(key, float("nan")) for key in keys)]
        for name, by in summary.items()
        for stem, s in by.items()
    ]
    return table(header, rows)


def recombination_table(recombined: Mapping[str, Mapping[str, float]]) -> str:
    """A separator a line, with how far it goes from median filters to true stems."""
    rows = [
        [
            name,
            s["mel_db"],
            s["chroma_cosine"],
            *(way_to_true_stems(recombined, name, key) for key in ("mel_db", "chroma_cosine")),
        ]
        for name, s in recombined.items()
    ]
    return table(["stems of", "mel dB", "chroma", "of the way, mel", "of the way, chroma"], rows)


def checkpoint_separator(model: str | None) -> Separator:
    """The separator of a checkpoint. Errors: MelformerError where it has none."""
    from melformer import Melformer

    loaded = Melformer.from_pretrained(model)
    return lambda mix, bpm: loaded.stems(mix, bpm=bpm)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description="Measure separation on mixes whose true stems are known.")
    parser.add_argument("--model", help="checkpoint folder or repository (the embedded one)")
    parser.add_argument("--no-model", action="store_true", help="the reference points alone")
    parser.add_argument("--engine", type=int, default=0, metavar="N", help="N held-out mixes of the engine")
    parser.add_argument("--songs", type=Path, metavar="DIR", help="set (d)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N excerpts of songs")
    parser.add_argument(
        "--recombine", type=int, default=0, metavar="N", help="make the next beats of N engine passages"
    )
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    try:
        separators = {} if arguments.no_model else {"Melformer": checkpoint_separator(arguments.model)}
        separators |= reference_separators()
        results: dict[str, object] = {}
        sets = {
            "engine": engine_mixes(arguments.engine),
            "songs": islice(song_mixes(arguments.songs), arguments.limit) if arguments.songs else (),
        }
        for name, mixes in sets.items():
            rows = measure_separators(mixes, separators)
            if any(rows.values()):
                results[name] = summary = summarise(rows)
                print(f"{name}: {len(next(iter(rows.values())))} mixes\n{separation_table(summary)}\n")
        if arguments.recombine:
            recombined = measure_recombination(engine_mixes(arguments.recombine), separators)
            results["recombination"] = recombined
            print(f"the next {N_NEW} beats, made again\n{recombination_table(recombined)}\n")
        if arguments.output:
            write_results(
                arguments.output,
                " ".join(["python tools/separation_scores.py", *(argv or sys.argv[1:])]),
                results,
            )
    except MelformerError as error:
        print(f"separation: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
