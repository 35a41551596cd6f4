"""How often the eight examples go on with new beats, and get stuck, at several temperatures and limits.

    python experiments/2026-11-temperature/run.py [--configs T,MIN_P …] [--beats N] [--seed S]

Results are added to results.json beside this file, a row for each pair of temperature and min_p.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from melformer.evaluate.metrics.beat_features import beat_features
from melformer.evaluate.metrics.continuation import SAME_BEAT_DB, fingerprint_distances, stuck_share
from melformer.files import atomic_path, shipped_folder
from melformer.generate import Continuation, GenerationConfig, Melformer

RESULTS = Path(__file__).parent / "results.json"


def measure(take: Continuation) -> dict[str, float]:
    """Shares of the new beats: unlike every beat of the loop, in a run of over 8 same ones; and of what was decoded."""
    prompt, bpm = take.prompt, take.prompt.bpm
    before = beat_features(prompt.waveform, bpm, prompt.n_beats)
    after = beat_features(take.new, bpm, take.n_beats, lead=prompt.waveform)
    distances = fingerprint_distances(after.fingerprint, before.fingerprint)
    return {
        "new": float((distances.min(axis=1) >= SAME_BEAT_DB).mean()),
        "stuck": stuck_share(before, after),
        "decoded": float((take.sources < 0).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", nargs="+", default=["1,0.1", "0.6,0.03", "1,0.03"], metavar="T,MIN_P")
    parser.add_argument("--beats", type=int, default=16, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Melformer.from_pretrained()
    prompts = [model.prompt(path) for path in sorted(shipped_folder("examples").glob("*.flac"))]
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    for pair in args.configs:
        temperature, min_p = map(float, pair.split(","))
        config = GenerationConfig(temperature=temperature, min_p=min_p)
        found = [measure(model.generate(p, args.beats, seed=args.seed, config=config)) for p in prompts]
        means = {name: round(float(np.mean([one[name] for one in found])), 3) for name in found[0]}
        rows.append({"temperature": temperature, "min_p": min_p, "seed": args.seed, "beats": args.beats, **means})
        print(rows[-1], flush=True)
        with atomic_path(RESULTS) as path:
            path.write_text(json.dumps({"loops": [prompt.name for prompt in prompts], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
