"""How often tempo and first beat are found by the sound alone.

python tools/tempo_report.py LOOPS [--passages 40] [--seed 1]

LOOPS is a folder of loops that are whole beats long and name their BPM, such as set (a). Passages are composed.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melformer.audio.grid import BeatGrid, seconds_per_beat
from melformer.audio.tempo import find_tempo
from melformer.audio.waveform import Waveform
from melformer.errors import MelformerError
from melformer.evaluate.sets import EvaluationClip, folder_clips
from melformer.evaluate.tables import table

SAME = 0.005  # of the tempo
NEAR_S = 0.03
CUTS = 4  # of each recorded loop
LENGTHS_S = (4.0, 12.0)


@dataclass(frozen=True)
class Piece:
    """What is listened to, and the truth: `beat_s` is where some beat is, in seconds from the start."""

    waveform: Waveform
    bpm: float
    beat_s: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """`kind` is "right", "octave" (half or double the tempo) or "wrong"; `on_beat` is None where it is wrong."""

    kind: str
    on_beat: bool | None
    confidence: float


def judge(piece: Piece) -> Verdict:
    """Listen to a piece, without its name or metadata. Errors: TempoError."""
    found = find_tempo(Waveform(piece.waveform.samples, piece.waveform.sample_rate))
    ratios = {"right": 1.0, "double": 2.0, "half": 0.5}
    near = [name for name, ratio in ratios.items() if abs(found.bpm / (ratio * piece.bpm) - 1.0) <= SAME]
    if not near:
        return Verdict("wrong", None, found.confidence)
    beat_s = seconds_per_beat(max(found.bpm, piece.bpm))  # of the finer of the two grids
    off = (found.start_s - piece.beat_s + beat_s / 2) % beat_s - beat_s / 2
    return Verdict("right" if near[0] == "right" else "octave", abs(off) <= NEAR_S, found.confidence)


def cut_anywhere(clip: EvaluationClip, rng: np.random.Generator) -> Piece:
    """A stretch of a loop that is played round, from any sample on."""
    rate = clip.waveform.sample_rate
    length = round(rng.uniform(*LENGTHS_S) * rate)
    start = int(rng.integers(clip.waveform.n_samples))
    times = -(-(start + length) // clip.waveform.n_samples)
    samples = np.tile(clip.waveform.samples, (times, 1))[start : start + length]
    beat = seconds_per_beat(clip.bpm)
    return Piece(Waveform(samples, rate), clip.bpm, -(start / rate) % beat)


def composed(passages: int, seed: int) -> Iterator[tuple[EvaluationClip, int]]:
    """Passages of the engine and how many beats a bar of each has."""
    from melformer.corpus.build import iterate

    for index, (passage, waveform) in enumerate(itertools.islice(iterate(seed, long=0.0), passages)):
        yield EvaluationClip(str(index), waveform, passage.bpm, passage.n_beats), passage.beats_per_bar


def whole_bars(clip: EvaluationClip, beats_per_bar: int, rng: np.random.Generator) -> Piece:
    """The first one to eight bars."""
    n_bars = int(rng.integers(1, 1 + max(1, min(8, clip.n_beats // beats_per_bar))))
    edges = BeatGrid(clip.bpm, clip.waveform.sample_rate).edges(n_bars * beats_per_bar)
    return Piece(clip.waveform.slice(0, int(edges[-1])), clip.bpm)


def listen(pieces: Iterable[Piece]) -> tuple[list[Verdict], float, float]:
    """Verdicts, seconds of sound, and seconds of one core that listening took."""
    verdicts, sound, start = [], 0.0, time.process_time()
    for piece in pieces:
        verdicts.append(judge(piece))
        sound += piece.waveform.duration_s
    return verdicts, sound, time.process_time() - start


def report(loops: Sequence[EvaluationClip], passages: int, seed: int) -> str:
    """Tables of what was found, and how far its confidence can be believed."""
    rng = np.random.default_rng(seed)
    own = list(composed(passages, seed))
    sets = {
        "recorded loops, whole": [Piece(clip.waveform, clip.bpm) for clip in loops],
        "recorded loops, played round and cut anywhere": [cut_anywhere(c, rng) for c in loops for _ in range(CUTS)],
        "composed passages, 1 to 8 whole bars": [whole_bars(clip, bar, rng) for clip, bar in own],
        "composed passages, played round and cut anywhere": [cut_anywhere(clip, rng) for clip, _ in own],
    }  # fmt: skip
    rows, everything, sound, spent = [], [], 0.0, 0.0
    for name, pieces in sets.items():
        if not pieces:
            continue
        verdicts, seconds, cost = listen(pieces)
        rows.append([name, len(verdicts), *_shares(verdicts)])
        everything += verdicts
        sound, spent = sound + seconds, spent + cost
    everything.sort(key=lambda verdict: verdict.confidence)
    n_fifths = min(5, len(everything))
    fifths = [[everything[i] for i in part] for part in np.array_split(np.arange(len(everything)), n_fifths)]
    believed = [[str(i), np.mean([v.confidence for v in part]), _shares(part)[0]] for i, part in enumerate(fifths, 1)]
    return "\n\n".join([
        table(["clips", "number", "right %", "octave %", "wrong %", "first beat %"], rows),
        table(["fifth by confidence", "confidence", "right %"], believed),
        f"{8.0 * spent / sound:.2f} s of a core for 8 s of sound",
    ])  # fmt: skip


def _shares(verdicts: Sequence[Verdict]) -> list[float]:
    kinds = [100.0 * np.mean([v.kind == kind for v in verdicts]) for kind in ("right", "octave", "wrong")]
    beats = [v.on_beat for v in verdicts if v.on_beat is not None]
    return [*kinds, 100.0 * np.mean(beats) if beats else float("nan")]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description="How often tempo and first beat are found by the sound alone.")
    parser.add_argument("loops", type=Path, help="a folder of loops that name their BPM")
    parser.add_argument("--passages", type=int, default=40, help="composed passages (40)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        print(report(folder_clips(args.loops)[0], args.passages, args.seed))
    except MelformerError as error:
        print(f"tempo_report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
