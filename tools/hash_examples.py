"""A hash of the codes and samples that the embedded checkpoint makes of every example, to compare two versions by.

python tools/hash_examples.py [--beats 4] [--seed 7]
"""

import argparse
import hashlib
from pathlib import Path

from melformer import Melformer

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beats", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    model = Melformer.from_pretrained()
    for loop in sorted((ROOT / "examples").glob("*.flac")):
        beats = list(model.stream(loop, n_beats=args.beats, seed=args.seed))
        codes, samples = hashlib.sha256(), hashlib.sha256()
        for beat in beats:
            codes.update(beat.codes.tobytes())
            samples.update(beat.waveform.samples.tobytes())
        print(f"{loop.stem:28} codes {codes.hexdigest()[:16]} samples {samples.hexdigest()[:16]}", flush=True)


if __name__ == "__main__":
    main()
