#!/usr/bin/env python3
"""How much of a continuation leaves the loop, stem by stem, against the variation that was asked for.

    python tools/variation_report.py real_a real_b --limit 33 -o docs/results/variation.json

Folders are those of tools/evaluation_sets.py or any others with loops. 16 beats are planned after each loop (half a
clip of 8 beats or more), nothing is rendered. A stem's half beat leaves the loop where it is not the one that the loop
played round would have there.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from melformer import GenerationConfig, Melformer
from melformer.evaluate.protocol import cut
from melformer.evaluate.results import write_results
from melformer.evaluate.sets import folder_clips
from melformer.generate.joint_planning import advance_together
from melformer.generate.loop_stems import LoopStems
from melformer.generate.plan_options import FREE
from melformer.stems.stems import STEMS
from melformer.stems.units import UnitChoice

ASKED, N_BEATS, SEED = (0.0, 0.25, 0.5, 0.75, 1.0), 16, 7


def share_leaving(loop: LoopStems, model: Melformer, variation: float) -> list[float]:
    """By stem; NaN for one that the loop has not."""
    planner, config = loop.planner(model.pointer, SEED), GenerationConfig(variation=variation)
    left = np.zeros(len(STEMS))
    n = round(N_BEATS * loop.units_per_beat)
    for unit in range(n):
        options = config.of_bar(SEED, unit // loop.bar, loop.fingerprint)
        choices = advance_together([planner], [options], [FREE])[0][0]
        left += [choice != UnitChoice(unit % loop.n_units) for choice in choices]
    return [float(count) / n if present else float("nan") for count, present in zip(left, loop.present)]


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
    rows = []
    for clip in tqdm(chosen, unit="clip"):
        case = cut(clip)
        prompt = model.prompt(case.prompt, bpm=case.bpm, start_s=0.0, beats_per_bar=case.beats_per_bar)
        loop = model._loop_stems(prompt)
        rows.append([share_leaving(loop, model, asked) for asked in ASKED])
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
    if options.out:
        write_results(options.out, " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), values)


if __name__ == "__main__":
    main()
