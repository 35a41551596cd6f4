#!/usr/bin/env python3
"""How much of a continuation leaves the loop, stem by stem, against the variation that was asked for.

    python tools/variation_report.py real_a real_b --limit 33 -o docs/results/variation.json

Folders are those of tools/evaluation_sets.py or any others with loops. 16 beats are planned after each loop (half a
clip of 8 beats or more), nothing is rendered. A stem's half beat leaves the loop where it is not the one that the loop
played round would have there. How well bass and chords agree is told beside the loop's own. Each loop is closed as
well: how surprising the seam is, beside an ordinary bar line.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from melformer import GenerationConfig, Melformer
from melformer.evaluate.protocol import cut
from melformer.evaluate.results import write_results
from melformer.evaluate.sets import folder_clips
from melformer.generate.loop_stems import LoopStems
from melformer.generate.planning.joint_planning import advance_together
from melformer.generate.planning.plan_options import FREE, Choices
from melformer.generate.stream import BeatStream, Closing
from melformer.stems.stems import STEMS
from melformer.stems.units import UnitChoice

ASKED, N_BEATS, SEED, N_SEEDS = (0.0, 0.25, 0.5, 0.75, 1.0), 16, 7, 4
N_PAIRS, QUIET = 256, 0.02


def plan(loop: LoopStems, model: Melformer, variation: float, seed: int = SEED) -> list[Choices]:
    """What each stem plays in every half model beat of the continuation."""
    planner, config = loop.planner(model.pointer, seed), GenerationConfig(variation=variation)
    found = []
    for unit in range(round(N_BEATS * loop.units_per_beat)):
        options = config.of_bar(seed, unit // loop.bar, loop.fingerprint)
        found.append(advance_together([planner], [options], [FREE])[0][0])
    return found


def leaves(loop: LoopStems, choices: list[Choices]) -> np.ndarray:
    """Where a stem is not what the loop played round would have there: bool (n_units, 3)."""
    return np.array([[c != UnitChoice(u % loop.n_units) for c in unit] for u, unit in enumerate(choices)])


def largest_lag_share(loop: LoopStems, choices: list[Choices], k: int) -> float:
    """Of a stem's half beats that leave the loop and sound, the share that follow it at the most common lag and
    transposition; NaN under a bar of them."""
    left = leaves(loop, choices)[:, k]
    own = [(u, unit[k]) for u, unit in enumerate(choices) if left[u] and not unit[k].silent]
    lags = Counter(((c.source - u) % loop.n_units, c.shift) for u, c in own)
    return max(lags.values()) / len(own) if len(own) >= loop.bar else float("nan")


def shares(loops: list[LoopStems], model: Melformer) -> dict[str, dict[str, float]]:
    """At the default variation, `N_SEEDS` takes of each loop: how much is transposed, and how many takes of a stem
    follow the loop at one constant lag for more than half of what leaves it."""
    variation = GenerationConfig().variation
    takes = [(loop, plan(loop, model, variation, SEED + i)) for loop in tqdm(loops) for i in range(N_SEEDS)]
    found = {}
    for k, name in enumerate(STEMS):
        lags = np.array([largest_lag_share(loop, choices, k) for loop, choices in takes if loop.present[k]])
        lags = lags[~np.isnan(lags)]
        own = [unit[k] for loop, choices in takes if loop.present[k] for unit in choices]
        found[name] = {
            "n_takes": len(lags), "largest_lag_share": round(float(np.median(lags)), 3),
            "at_one_lag": round(float((lags > 0.5).mean()), 3),
            "transposed": round(float(np.mean([c.shift != 0 for c in own])), 3),
            "silent": round(float(np.mean([c.silent for c in own])), 3),
        }  # fmt: skip
    return found


def harmony(loops: list[LoopStems], model: Melformer) -> dict[str, float]:
    """How much bass and chords have in common, the cosine of their pitch classes, the mean over loops: in the loop, in
    pairs of its half beats drawn at random, in the takes, and there where both are of one place, of two, and
    transposed by different steps."""
    variation, rows = GenerationConfig().variation, []
    for loop in tqdm(loops, desc="harmony", unit="loop"):
        pitch = np.sqrt(loop.pictures.chroma.sum(axis=-1, dtype=np.float64))
        level = np.linalg.norm(pitch, axis=-1)
        sounding = level > QUIET * level.max(axis=0)
        pitch /= np.maximum(level, 1e-12)[..., None]
        both = np.flatnonzero(sounding.all(axis=1))
        if not (loop.present[1] and loop.present[2]) or len(both) < loop.bar:
            continue
        rng = np.random.default_rng(SEED)
        drawn = pitch[rng.choice(both, N_PAIRS), 0], pitch[rng.choice(both, N_PAIRS), 1]
        found = {name: [np.nan] for name in ("takes", "one place", "two places", "transposed apart")}
        for seed in range(SEED, SEED + N_SEEDS):
            for _, bass, chord in plan(loop, model, variation, seed):
                if bass.silent or chord.silent or not (sounding[bass.source, 0] and sounding[chord.source, 1]):
                    continue
                moved = [np.roll(pitch[one.source, k], one.shift) for k, one in enumerate((bass, chord))]
                apart = "transposed apart" if (bass.shift - chord.shift) % 12 else "two places"
                same = bass.source == chord.source and apart == "two places"
                for name in ("takes", "one place" if same else apart):
                    found[name].append(float(moved[0] @ moved[1]))
        own = [(pitch[both, 0] * pitch[both, 1]).sum(axis=-1), (drawn[0] * drawn[1]).sum(axis=-1)]
        rows.append([np.nanmean(values) for values in (*own, *found.values())])
    means = np.nanmean(np.array(rows), axis=0)
    names = ("loop", "at random", *found)
    return {"n_loops": len(rows), **{name: round(float(mean), 3) for name, mean in zip(names, means)}}


def seam_surprise(loop: LoopStems, model: Melformer) -> float:
    """Nats of the loop's beginning behind the last bar of a closed continuation over those of its ordinary bars."""
    stream = BeatStream(loop, model.pointer, model.codec, GenerationConfig(), N_BEATS, SEED, Closing(N_BEATS))
    while stream.ending is None:
        stream.plan()
    return stream.ending.surprise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR_OF_LOOPS")
    parser.add_argument("--limit", type=int, metavar="N", help="clips, taken evenly")
    parser.add_argument("-o", dest="out", type=Path, metavar="FILE")
    options = parser.parse_args()
    clips = [clip for folder in options.folders for clip in folder_clips(folder)[0]]
    chosen = [
        clips[i] for i in np.linspace(0, len(clips) - 1, min(len(clips), options.limit or len(clips))).astype(int)
    ]
    model = Melformer.from_pretrained()
    loops, rows = [], []
    for clip in tqdm(chosen, unit="clip"):
        case = cut(clip)
        prompt = model.prompt(case.prompt, bpm=case.bpm, start_s=0.0, beats_per_bar=case.beats_per_bar)
        loop = model._loop_stems(prompt)
        loops.append(loop)
        means = [leaves(loop, plan(loop, model, asked)).mean(axis=0) for asked in ASKED]
        rows.append(np.where(loop.present, means, np.nan))
    measured = np.array(rows)  # (clips, asked, stems)
    means = np.nanmean(measured, axis=0)
    values = {"n_clips": len(rows), "asked": list(ASKED)}
    print(f"{len(rows)} clips, asked     " + "  ".join(f"{asked:5.2f}" for asked in ASKED) + "   rank correlation")
    for k, name in enumerate(STEMS):
        heard = ~np.isnan(measured[:, 0, k])
        pairs = measured[heard, :, k]
        rank = float(spearmanr(np.tile(ASKED, len(pairs)), pairs.flatten()).statistic)
        values[name] = {"measured": np.round(means[:, k], 3).tolist(), "rank_correlation": round(rank, 3)}
        print(f"{name:>16}: " + "  ".join(f"{value:5.2f}" for value in means[:, k]) + f"   {rank:.2f}")
    values["takes"] = shares(loops, model)
    for name, row in values["takes"].items():
        print(name, row)
    values["harmony"] = harmony(loops, model)
    print("harmony", values["harmony"])
    seams = np.array([seam_surprise(loop, model) for loop in tqdm(loops, desc="closing", unit="loop")])
    values["closing"] = {"seam_median": round(float(np.median(seams)), 3),
                         "seam_over_1.1": round(float((seams > 1.1).mean()), 3)}  # fmt: skip
    print("closing", values["closing"])
    if options.out:
        write_results(options.out, " ".join(["python", f"tools/{Path(__file__).name}", *sys.argv[1:]]), values)


if __name__ == "__main__":
    main()
