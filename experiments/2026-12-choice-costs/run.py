"""Continuations of our own clips with other costs of choices; see README.md.

    python experiments/2026-12-choice-costs/run.py CLIPS_DIR --change 2 --lag 4 -o RESULTS.json

CLIPS_DIR is what experiments/2026-12-one-lag/run.py writes.
"""

import argparse
import json
import sys
from pathlib import Path

from melformer import Melformer
from melformer.cli import main as melformer
from melformer.evaluate.protocol import cut
from melformer.evaluate.sets import folder_clips
from melformer.generate import choice_costs

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from variation_report import shares


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--change", type=float, default=choice_costs.CHANGE_NATS)
    parser.add_argument("--lag", type=float, default=choice_costs.LAG_NATS)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    choice_costs.CHANGE_NATS, choice_costs.LAG_NATS = options.change, options.lag
    model, loops = Melformer.from_pretrained(), []
    for clip in folder_clips(options.clips)[0]:
        case = cut(clip)
        prompt = model.prompt(case.prompt, bpm=case.bpm, start_s=0.0, beats_per_bar=case.beats_per_bar)
        loops.append(model._loop_stems(prompt))
    one_lag = shares(loops, model)
    sys.argv = ["melformer", "evaluate", str(options.clips), "--parts", "continuation", "--quick", "--takes", "3"]
    sys.argv += ["--systems", "Melformer", "the truth", "prompt looped", "rule", "rule, half", "-o", str(options.out)]
    status = melformer()
    found = json.loads(options.out.read_text(encoding="utf-8"))
    print(json.dumps({"one lag": one_lag, **found["continuation"]["Melformer"]["embedding"]}, indent=1))
    return status


if __name__ == "__main__":
    sys.exit(main())
