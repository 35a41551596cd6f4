"""A learned beat tracker with a grid for the whole clip: train it, fit its decoder, measure it.

python run.py train RUN [--passages 550] [--steps 1000]     # writes RUN/tracker.safetensors
python run.py measure WEIGHTS LOOPS [-o results.json]       # LOOPS name their BPM
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import tempo_decoder
import tempo_fit
import tempo_material
from beat_tracker import load_weights
from clip_features import take_apart
from decode import decode
from safetensors.numpy import load_file, save_file

from melformer.audio.grid import seconds_per_beat
from melformer.audio.io import audio_files, read_waveform
from melformer.audio.waveform import Waveform

PADDINGS = ((0.01, 0.0), (0.025, 0.0), (1.0, 0.0), (0.0, 0.01), (0.0, 0.023), (0.0, 1.0), (0.025, 0.02), (2.0, 2.0))
N_CUTS, LENGTHS_S = 4, (4.0, 12.0)


def train(run: Path, n_passages: int, steps: int) -> None:
    """Compose, train, fit the decoder on other passages: half in styles that the network was trained on."""
    styles = tempo_material.training_styles()
    tempo_material.write_examples(run / "train", 28, n_passages, styles)
    for seed, names in ((290, tempo_material.CALIBRATION_STYLES), (291, styles)):
        tempo_material.write_examples(run / "calibration", seed, max(50, n_passages // 5), names, sound=True)
    tempo_fit.fit([run / "train"], run / "network.safetensors", tempo_fit.FitOptions(steps=steps))
    weights = load_file(run / "network.safetensors")
    decoder = tempo_decoder.fit_decoder(tempo_decoder.see_all(run / "calibration", weights))
    save_file({**weights, **decoder}, run / "tracker.safetensors")


def measure(weights_file: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Loops whole, cut anywhere and in silence: how many have the right tempo, its octave, another; first beats."""
    weights, rng = load_weights(weights_file), np.random.default_rng(1)
    loops = [(read_waveform(path), _bpm(path), "compus" in path.name) for path in audio_files(folder)]
    sets = {
        "whole": [(w, bpm, both, 0.0) for w, bpm, both in loops],
        "cut anywhere": [(*_cut(w, bpm, rng, both),) for w, bpm, both in loops for _ in range(N_CUTS)],
        "in silence": [(_padded(w, *pad), bpm, both, pad[0]) for w, bpm, both in loops for pad in PADDINGS],
    }
    return {name: _shares([_judge(*item, weights) for item in items]) for name, items in sets.items()}


def _bpm(path: Path) -> float:
    return float(re.search(r"_([\d.]+)bpm", path.name)[1])


def _cut(w: Waveform, bpm: float, rng: np.random.Generator, both: bool) -> tuple[Waveform, float, bool, float]:
    length, start = round(rng.uniform(*LENGTHS_S) * w.sample_rate), int(rng.integers(w.n_samples))
    round_ = np.tile(w.samples, (-(-(start + length) // w.n_samples), 1))
    return Waveform(round_[start : start + length], w.sample_rate), bpm, both, -(start / w.sample_rate)


def _padded(w: Waveform, before_s: float, after_s: float) -> Waveform:
    pads = [np.zeros((round(s * w.sample_rate), w.n_channels), np.float32) for s in (before_s, after_s)]
    return Waveform(np.concatenate([pads[0], w.samples, pads[1]]), w.sample_rate)


def _judge(
    w: Waveform, bpm: float, both: bool, beat_s: float, weights: dict[str, np.ndarray]
) -> tuple[str, bool | None]:
    found = decode(take_apart(w, weights), weights)
    for kind, ratio in (("right", 1.0), ("octave", 2.0), ("octave", 0.5)):
        if found and abs(found.bpm / (ratio * bpm) - 1.0) <= 0.005:
            period = seconds_per_beat(max(found.bpm, bpm))
            off = (found.start_s - beat_s + period / 2) % period - period / 2
            return "right" if both else kind, abs(off) <= 0.03
    return "wrong", None


def _shares(verdicts: list[tuple[str, bool | None]]) -> dict[str, float]:
    kinds = Counter(kind for kind, _ in verdicts)
    beats = [beat for _, beat in verdicts if beat is not None]
    return {
        "n": len(verdicts),
        **{k: kinds[k] for k in ("right", "octave", "wrong")},
        "first_beat": float(np.mean(beats)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train")
    command.add_argument("run", type=Path)
    command.add_argument("--passages", type=int, default=550)
    command.add_argument("--steps", type=int, default=1_000)
    command = commands.add_parser("measure")
    command.add_argument("weights", type=Path)
    command.add_argument("loops", type=Path)
    command.add_argument("-o", dest="out", type=Path)
    args = parser.parse_args()
    if args.command == "train":
        train(args.run, args.passages, args.steps)
        return
    result = measure(args.weights, args.loops)
    print(json.dumps(result, indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
