"""How often tempo and first beat are found by the sound alone, and what their confidence is worth.

python tools/tempo_report.py LOOPS [--songs DIR] [--passages 200] [--cuts 20] [-o docs/results/tempo.json]

LOOPS is a folder of loops that are whole bars long and name their BPM, such as set (a); of songs, which name theirs,
the first 24 beats are taken, as of set (b). Passages are composed, of seeds that nothing was fitted on.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.grid import BeatGrid, seconds_per_beat
from melformer.audio.io import audio_files, read_waveform
from melformer.audio.tempo import find_tempo
from melformer.audio.tempo.name import bpm_in_name
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, MelformerError
from melformer.evaluate.results import write_results
from melformer.evaluate.sets import FIRST_HELD_OUT_SEED, EvaluationClip
from melformer.evaluate.tables import table

SAME = 0.005  # of the tempo
NEAR_S = 0.03
LENGTHS_S = (4.0, 12.0)
SONG_BEATS = 24
SURE = 0.9
EITHER_OCTAVE = ("compus",)  # loops whose makers give two tempi
PADDINGS_S = (
    (0.01, 0.0), (0.015, 0.0), (0.023, 0.0), (0.025, 0.0), (0.0, 0.01), (0.0, 0.015), (0.0, 0.023), (0.0, 0.025),
    (0.025, 0.02), (1.0, 0.0), (0.0, 1.0), (4.0, 0.0), (0.0, 4.0), (0.5, 2.0),
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """What is analysed, and the truth: `beat_s` is where some beat is, in seconds from the start."""

    waveform: Waveform
    bpm: float
    beat_s: float = 0.0
    either_octave: bool = False


@dataclass(frozen=True)
class Verdict:
    """`kind` is "right", "octave" (half or double the tempo) or "wrong"; `on_beat` is None where it is wrong."""

    kind: str
    on_beat: bool | None
    confidence: float


def judge(piece: Piece) -> Verdict:
    """Analyse a piece, without its name or metadata. Errors: TempoError."""
    found = find_tempo(Waveform(piece.waveform.samples, piece.waveform.sample_rate))
    ratios = {"right": 1.0, "double": 2.0, "half": 0.5}
    near = [name for name, ratio in ratios.items() if abs(found.bpm / (ratio * piece.bpm) - 1.0) <= SAME]
    if not near:
        return Verdict("wrong", None, found.confidence)
    beat_s = seconds_per_beat(max(found.bpm, piece.bpm))  # of the finer of the two grids
    off = (found.start_s - piece.beat_s + beat_s / 2) % beat_s - beat_s / 2
    kind = "right" if near[0] == "right" or piece.either_octave else "octave"
    return Verdict(kind, abs(off) <= NEAR_S, found.confidence)


def named_clips(folder: Path) -> list[EvaluationClip]:
    """The audio files of a folder that name their BPM. Errors: AudioError."""
    if not folder.is_dir():
        raise AudioError(f"{folder} is no folder: give one that holds loops")
    named = [(path, bpm_in_name(path)) for path in audio_files(folder)]
    clips = []
    for path, name in named:
        if name is not None:
            waveform = read_waveform(path)
            n_beats = round(waveform.duration_s / seconds_per_beat(name.bpms[0]))
            clips.append(EvaluationClip(path.stem, waveform, name.bpms[0], n_beats))
    if not clips:
        raise AudioError(f"no file in {folder} names its BPM")
    return clips


def whole(clip: EvaluationClip) -> Piece:
    return Piece(clip.waveform, clip.bpm, either_octave=_either(clip))


def _either(clip: EvaluationClip) -> bool:
    return any(name in clip.name for name in EITHER_OCTAVE)


def cut_anywhere(clip: EvaluationClip, rng: np.random.Generator) -> Piece:
    """A stretch of a loop that is played round, from any sample on."""
    rate = clip.waveform.sample_rate
    length = round(rng.uniform(*LENGTHS_S) * rate)
    start = int(rng.integers(clip.waveform.n_samples))
    times = -(-(start + length) // clip.waveform.n_samples)
    samples = np.tile(clip.waveform.samples, (times, 1))[start : start + length]
    beat_s = -(start / rate) % seconds_per_beat(clip.bpm)
    return Piece(Waveform(samples, rate), clip.bpm, beat_s, _either(clip))


def in_silence(clip: EvaluationClip, before_s: float, after_s: float) -> Piece:
    rate, n_channels = clip.waveform.sample_rate, clip.waveform.n_channels
    pads = [np.zeros((round(s * rate), n_channels), np.float32) for s in (before_s, after_s)]
    samples = np.concatenate([pads[0], clip.waveform.samples, pads[1]])
    return Piece(Waveform(samples, rate), clip.bpm, before_s, either_octave=_either(clip))


def composed(passages: int, seed: int) -> Iterator[tuple[EvaluationClip, int]]:
    """Passages of held-out seeds and how many beats a bar of each has."""
    from melformer.corpus.build import iterate

    for index, (passage, waveform) in enumerate(islice(iterate(FIRST_HELD_OUT_SEED + seed, long=0.0), passages)):
        yield EvaluationClip(str(index), waveform, passage.bpm, passage.n_beats), passage.beats_per_bar


def whole_bars(clip: EvaluationClip, beats_per_bar: int, rng: np.random.Generator) -> Piece:
    """The first one to eight bars."""
    n_bars = int(rng.integers(1, 1 + max(1, min(8, clip.n_beats // beats_per_bar))))
    edges = BeatGrid(clip.bpm, clip.waveform.sample_rate).edges(n_bars * beats_per_bar)
    return Piece(clip.waveform.slice(0, int(edges[-1])), clip.bpm)


def first_beats(clip: EvaluationClip) -> Piece:
    edges = BeatGrid(clip.bpm, clip.waveform.sample_rate).edges(min(SONG_BEATS, clip.n_beats))
    return Piece(clip.waveform.slice(0, int(edges[-1])), clip.bpm)


def pieces(args: argparse.Namespace) -> Iterator[tuple[str, Piece]]:
    """Everything that is measured, with the name of its set; composed passages are made as they are needed."""
    loops = named_clips(args.loops)
    rng = np.random.default_rng(args.seed)
    for clip in loops:
        yield "recorded loops, whole", whole(clip)
        for padding in PADDINGS_S[: args.paddings]:
            yield "recorded loops in silence", in_silence(clip, *padding)
        for _ in range(args.cuts):
            yield "recorded loops, played round and cut anywhere", cut_anywhere(clip, rng)
    for clip, bar in composed(args.passages, args.seed):
        yield "composed passages, 1 to 8 whole bars", whole_bars(clip, bar, rng)
        yield "composed passages, played round and cut anywhere", cut_anywhere(clip, rng)
        for _ in range(args.more_cuts):
            yield "more cuts of composed passages", cut_anywhere(clip, rng)
    for clip in named_clips(args.songs) if args.songs else []:
        yield "songs, their first 24 beats", first_beats(clip)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Shares of each set, calibration over all of them, and the cost."""
    verdicts: dict[str, list[Verdict]] = {}
    sound_s = spent_s = 0.0
    for name, piece in pieces(args):
        start = time.process_time()
        verdicts.setdefault(name, []).append(judge(piece))
        spent_s += time.process_time() - start
        sound_s += piece.waveform.duration_s
    everything = [v for found in verdicts.values() for v in found]
    sets = {name: shares(found) for name, found in verdicts.items()}
    return {"sets": sets, "calibration": calibration(everything), "seconds_of_a_core_for_8_s": 8.0 * spent_s / sound_s}


def shares(verdicts: Sequence[Verdict]) -> dict[str, float | None]:
    """How many of a set are right; None where a question has no answer in it."""

    def share(answers: Sequence[bool | None]) -> float | None:
        known = [a for a in answers if a is not None]
        return float(np.mean(known)) if known else None

    return {
        "n": len(verdicts),
        **{kind: float(np.mean([v.kind == kind for v in verdicts])) for kind in ("right", "octave", "wrong")},
        "first_beat": share([v.on_beat for v in verdicts]),
    }


def calibration(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Mean confidence and share right in fifths by confidence, what they differ by, and the worst fault."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.confidence)
    parts = [part for part in np.array_split(np.arange(len(ordered)), 5) if len(part)]
    fifths = [
        {
            "confidence": float(np.mean([ordered[i].confidence for i in part])),
            "right": float(np.mean([ordered[i].kind == "right" for i in part])),
        }
        for part in parts
    ]
    off = [abs(fifth["confidence"] - fifth["right"]) * len(part) for fifth, part in zip(fifths, parts)]
    sure = [v.kind != "right" and v.confidence >= SURE for v in ordered]
    return {
        "n": len(ordered), "fifths": fifths, "expected_error": sum(off) / len(ordered),
        "sure_and_not_right": float(np.mean(sure)),
        "sure_and_wrong": float(np.mean([s and v.kind == "wrong" for s, v in zip(sure, ordered)])),
    }  # fmt: skip


def report(found: dict[str, Any]) -> str:
    """Tables of what was measured."""
    columns = ("right", "octave", "wrong", "first_beat")
    rows = [
        [name, s["n"], *(float("nan") if s[key] is None else 100.0 * s[key] for key in columns)]
        for name, s in found["sets"].items()
    ]
    trust = found["calibration"]
    fifths = [[str(i), fifth["confidence"], 100.0 * fifth["right"]] for i, fifth in enumerate(trust["fifths"], 1)]
    return "\n\n".join([
        table(["clips", "number", *(f"{key.replace('_', ' ')} %" for key in columns)], rows),
        table(["fifth by confidence", "confidence", "right %"], fifths),
        f"expected calibration error {trust['expected_error']:.3f}; at {SURE} or more and wrong: "
        f"{100 * trust['sure_and_wrong']:.1f}%, or an octave off: {100 * trust['sure_and_not_right']:.1f}%",
        f"{found['seconds_of_a_core_for_8_s']:.2f} s of a core for 8 s of sound",
    ])  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loops", type=Path, help="a folder of loops that name their BPM")
    parser.add_argument("--songs", type=Path, help="a folder of songs that name their BPM")
    parser.add_argument("--passages", type=int, default=200, help="composed passages (200)")
    parser.add_argument("--cuts", type=int, default=20, help="cuts of each recorded loop (20)")
    parser.add_argument("--more-cuts", type=int, default=5, help="more cuts of each passage (5)")
    parser.add_argument("--paddings", type=int, default=len(PADDINGS_S), help="ways to add silence (14)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", dest="out", type=Path, help="write the figures as JSON, too")
    args = parser.parse_args(argv)
    try:
        found = measure(args)
    except MelformerError as error:
        print(f"tempo_report: {error}", file=sys.stderr)
        return 2
    print(report(found))
    if args.out:
        songs = f" --songs {args.songs.name}" if args.songs else ""
        numbers = f" --passages {args.passages} --more-cuts {args.more_cuts}"
        write_results(args.out, f"python tools/tempo_report.py {args.loops.name}{songs}{numbers}", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
