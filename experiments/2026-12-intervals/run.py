"""What intervals between bass and chords are worth, from passages as `melformer train pointer` prepares them.

python experiments/2026-12-intervals/run.py RUN/beats -o results.json
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from melformer.data.unit_dataset import UnitClip
from melformer.evaluate.results import write_results
from melformer.train.tasks.pointer import HELD_OUT_EVERY
from melformer.transformer.pointer import UNSHIFTED

PER_PASSAGE, FEWEST, UNLIKE, QUIET = 12, 16, 90, 0.02


def tones(chroma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch classes of bass and other (U, 2, 12), of unit length, and where both sound, as the pointer reads them."""
    parts = np.sqrt(np.maximum(chroma.astype(np.float64), 0.0))
    level = np.linalg.norm(parts, axis=2)
    sounding = level > QUIET * np.maximum(level.max(axis=(0, 2), keepdims=True), 1e-12)
    whole = (parts / np.maximum(level, 1e-12)[:, :, None] * sounding[:, :, None]).sum(axis=-1)
    return whole / np.maximum(np.linalg.norm(whole, axis=-1, keepdims=True), 1e-12), sounding.all(axis=(1, 2))


def intervals(bass: np.ndarray, chord: np.ndarray) -> np.ndarray:
    return np.stack([(bass * np.roll(chord, -i, axis=-1)).sum(axis=-1) for i in range(12)], axis=-1)


def pairs(clip: UnitClip, way: int, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """Basses with the chords of their own half beat (1.0), and of others, half of them transposed as well (0.0)."""
    pitch, sounding = tones(np.asarray(clip.chroma[way]))
    both = np.flatnonzero(sounding & ~clip.silent[1] & ~clip.silent[2])
    if len(both) < FEWEST:
        return []
    here, elsewhere = rng.choice(both, PER_PASSAGE), rng.choice(both, PER_PASSAGE)
    steps = np.where(rng.random(PER_PASSAGE) < 0.5, 0, rng.integers(-7, 8, PER_PASSAGE))
    moved = np.stack([np.roll(pitch[unit, 0], step) for unit, step in zip(elsewhere, steps)])
    unlike = clip.alike[1][here, elsewhere, steps + UNSHIFTED] < UNLIKE
    rows = [(row, 1.0) for row in intervals(pitch[here, 0], pitch[here, 1])]
    return rows + [(row, 0.0) for row in intervals(moved, pitch[here, 1])[unlike]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    rng, learned, tested = np.random.default_rng(0), [], []
    paths = sorted(options.units.glob("*.npz"))
    for i, path in enumerate(paths):
        clip = UnitClip.load(path)
        for way in range(len(clip.chroma)):
            (learned if i % HELD_OUT_EVERY else tested).extend(pairs(clip, way, rng))

    def nats(weights: np.ndarray, rows: list[tuple[np.ndarray, float]]) -> float:
        odds = np.array([row for row, _ in rows]) @ weights[:-1] + weights[-1]
        return float(np.mean(np.logaddexp(0.0, odds) - odds * np.array([label for _, label in rows])))

    found = minimize(lambda w: nats(w, learned) + 1e-4 * np.square(w[:-1]).sum(), np.zeros(13), method="L-BFGS-B").x
    values = {
        "n_passages": len(paths), "n_pairs": len(learned), "n_held_out": len(tested),
        "nats_held_out": round(nats(found, tested), 3), "interval_worth": np.round(found[:-1], 2).tolist(),
        "offset": round(float(found[-1]), 2),
    }  # fmt: skip
    print(values)
    write_results(options.out, "run.py UNITS", values)


if __name__ == "__main__":
    main()
