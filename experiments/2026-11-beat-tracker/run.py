"""A learned beat tracker with a grid for the whole clip: train it, fit its decoder, measure it.

python run.py train RUN --midi DIR [--passages 3000] [--steps 5600]     # writes RUN/tracker.safetensors
python run.py measure LOOPS --songs DIR [-o results.json]               # both name their BPM
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import numpy as np
import tempo_report
import torch
from beat_network import Weights
from decoder_fit import DecoderExample, decoder_example, fit_decoder
from find import Tempo, find_tempo
from safetensors.numpy import save_file
from tempo_batches import draw_batch
from tempo_material import (
    CALIBRATION_STYLES,
    EVALUATION_STYLES,
    METRES,
    SAMPLE_RATE,
    draw_passage,
    load_examples,
    midi_examples,
    save_examples,
    training_styles,
    write_examples,
)
from tempo_network import TempoNetwork, TempoNetworkConfig
from torch.nn import functional as F

from melformer.audio.grid import seconds_per_beat
from melformer.audio.waveform import Waveform
from melformer.corpus import render
from melformer.corpus.build import passage_seed
from melformer.corpus.midi import MidiFolder

BATCH, LR, WARM_UP = 16, 2.5e-3, 100
N_MIDI = 192
HELD_OUT_SEED, N_HELD_OUT = 10_000_028, 100


def compose(run: Path, n_passages: int, midi: Path) -> None:
    """Material for the network, and for the decoder: bands in held-out and other styles, single players, MIDI files."""
    styles = training_styles()
    write_examples(run / "network", 28, n_passages, styles)
    for seed, names, n, n_each, few in (
        (290, CALIBRATION_STYLES, 300, 1, 0.08), (291, styles, 300, 1, 0.08), (292, CALIBRATION_STYLES, 100, 2, 0.08),
        (293, styles, 100, 2, 0.08), (294, CALIBRATION_STYLES, 75, 2, 1.0), (295, styles, 75, 2, 1.0),
    ):  # fmt: skip
        write_examples(run / "decoder", seed, n, names, n_each, few, sound=True)
    folder = MidiFolder(midi, 7)
    for start in range(0, N_MIDI, 24):
        made = [e for i in range(start, start + 24) for e in midi_examples(folder, 296, i, 2)]
        save_examples(run / "decoder" / f"296_{start:06d}.npz", made, sound=True)


def fit_network(folder: Path, steps: int) -> Weights:
    """The rate rises for 100 steps and falls over the last 60%."""
    torch.manual_seed(1)
    rng, network = np.random.default_rng(1), TempoNetwork(TempoNetworkConfig())
    items = [(bands, grid) for bands, grid, _ in load_examples(sorted(folder.glob("*.npz")))]
    optimizer = torch.optim.AdamW(network.parameters(), LR, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, (step + 1) / WARM_UP, (steps - step) / steps / 0.6)
        batch = draw_batch(items, BATCH, rng)
        frames, tempo, metre = network(batch["bands"], batch["mask"])
        each = F.binary_cross_entropy_with_logits(frames, batch["frames"], reduction="none")
        beat, downbeat, music = (each * batch["mask"]).sum((0, 2)) / batch["mask"].sum()
        by_clip = F.cross_entropy(tempo, batch["tempo"]) + F.cross_entropy(metre, batch["metre"])
        optimizer.zero_grad()
        (5.0 * beat + 5.0 * downbeat + 0.5 * music + 0.15 * by_clip).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(step, float(beat), float(downbeat), flush=True)
    return network.arrays()


def train(run: Path, n_passages: int, steps: int, midi: Path) -> None:
    compose(run, n_passages, midi)
    weights = fit_network(run / "network", steps)
    fit: list[DecoderExample] = []
    held: list[DecoderExample] = []  # every third file only calibrates
    for number, path in enumerate(sorted((run / "decoder").glob("*.npz"))):
        for samples, grid, _ in load_examples([path]):
            waveform = Waveform(samples.astype(np.float32) / 32_767.0, SAMPLE_RATE)
            if waveform.samples.any():
                (held if number % 3 == 2 else fit).append(decoder_example(waveform, grid, weights))
    tensors = weights | fit_decoder(fit, held, steps=800)
    save_file({n: np.ascontiguousarray(v.astype(np.float16)) for n, v in tensors.items()}, run / "tracker.safetensors")


def measure(loops: Path, songs: Path) -> dict[str, Any]:
    """Recorded loops and songs as `tools/tempo_report.py` judges them, and metre and downbeat in held-out styles."""
    tempo_report.find_tempo = find_tempo
    tempo_report.composed = lambda passages, seed: iter(())
    args = argparse.Namespace(
        loops=loops, songs=songs, passages=0, cuts=20, more_cuts=0, paddings=len(tempo_report.PADDINGS_S), seed=1
    )
    found = tempo_report.measure(args)
    verdicts: dict[str, list[dict[str, bool]]] = {"whole": [], "cut": []}
    rng = np.random.default_rng(1)
    for index in range(N_HELD_OUT):
        passage = draw_passage(passage_seed(HELD_OUT_SEED, index), EVALUATION_STYLES, rng)
        loop = render(passage, SAMPLE_RATE)
        verdicts["whole"].append(_judge(find_tempo(loop), passage.bpm, passage.beats_per_bar, passage.metre, 0.0))
        length, start = round(rng.uniform(4.0, 12.0) * SAMPLE_RATE), int(rng.integers(loop.n_samples))
        played = np.tile(loop.samples, (-(-(start + length) // loop.n_samples), 1))[start : start + length]
        cut = find_tempo(Waveform(played, SAMPLE_RATE))
        bar_s = passage.beats_per_bar * seconds_per_beat(passage.bpm)
        at_s = -(start / SAMPLE_RATE) % bar_s
        verdicts["cut"].append(_judge(cut, passage.bpm, passage.beats_per_bar, passage.metre, at_s))
    return found | {"composed in held-out styles": {name: _means(rows) for name, rows in verdicts.items()}}


def _judge(found: Tempo, bpm: float, beats_per_bar: int, metre: str, bar_s: float) -> dict[str, bool]:
    assert metre in METRES
    beat_s = seconds_per_beat(bpm)
    right = abs(found.bpm / bpm - 1.0) <= 0.005
    octave = any(abs(found.bpm * factor / bpm - 1.0) <= 0.005 for factor in (0.5, 2.0))
    down_s = found.start_s + found.downbeat * beat_s

    def near(time_s: float, period_s: float) -> bool:
        return abs((time_s - bar_s + period_s / 2) % period_s - period_s / 2) <= 0.03

    of_right = {
        "first_beat": near(found.start_s, beat_s), "metre": found.metre == metre,
        "downbeat": near(down_s, beats_per_bar * beat_s),
    }  # fmt: skip
    return {"right": right, "octave": octave} | (of_right if right else {})


def _means(rows: Sequence[dict[str, bool]]) -> dict[str, float]:
    names = ("right", "octave", "first_beat", "metre", "downbeat")
    return {"n": len(rows), **{n: round(float(np.mean([r[n] for r in rows if n in r])), 3) for n in names}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train")
    command.add_argument("run", type=Path)
    command.add_argument("--midi", type=Path, required=True)
    command.add_argument("--passages", type=int, default=3_000)
    command.add_argument("--steps", type=int, default=5_600)
    command = commands.add_parser("measure")
    command.add_argument("loops", type=Path)
    command.add_argument("--songs", type=Path, required=True)
    command.add_argument("-o", dest="out", type=Path)
    args = parser.parse_args()
    if args.command == "train":
        train(args.run, args.passages, args.steps, args.midi)
        return
    result = measure(args.loops, args.songs)
    print(json.dumps(result, indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
