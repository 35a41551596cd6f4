"""How often tempo, beats and bars are found by the sound alone, and what their confidence is worth.

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
from melformer.train.tempo.tempo_material import EVALUATION_STYLES

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
    """What is analysed, and the truth: `beat_s` is where some beat is, in seconds from the start, and a bar of `metre`
    where that is known."""

    waveform: Waveform
    bpm: float
    beat_s: float = 0.0
    either_octave: bool = False
    metre: str = ""
    beats_per_bar: int = 1


@dataclass(frozen=True)
class Verdict:
    """`kind` is "right", "octave" (half or double the tempo) or "wrong"; `on_beat` is None where it is wrong, `metre`
    and `downbeat` where it is not right or the metre unknown. `sure` are the confidences of these three."""

    kind: str
    on_beat: bool | None
    confidence: float
    metre: bool | None = None
    downbeat: bool | None = None
    sure: tuple[float, float, float] = (0.0, 0.0, 0.0)


def judge(piece: Piece) -> Verdict:
    """Analyse a piece, without its name or metadata. Errors: TempoError."""
    found = find_tempo(Waveform(piece.waveform.samples, piece.waveform.sample_rate))
    ratios = {"right": 1.0, "double": 2.0, "half": 0.5}
    near = [name for name, ratio in ratios.items() if abs(found.bpm / (ratio * piece.bpm) - 1.0) <= SAME]
    sure = (found.start_confidence, found.metre_confidence, found.downbeat_confidence)
    if not near:
        return Verdict("wrong", None, found.confidence, sure=sure)

    def on_grid(time_s: float, period_s: float) -> bool:
        return abs((time_s - piece.beat_s + period_s / 2) % period_s - period_s / 2) <= NEAR_S

    on_beat = on_grid(found.start_s, seconds_per_beat(max(found.bpm, piece.bpm)))  # of the finer of the two grids
    kind = "right" if near[0] == "right" or piece.either_octave else "octave"
    if near[0] != "right" or not piece.metre:
        return Verdict(kind, on_beat, found.confidence, sure=sure)
    beat_s = seconds_per_beat(piece.bpm)
    downbeat = on_grid(found.start_s + found.downbeat * beat_s, piece.beats_per_bar * beat_s)
    return Verdict(kind, on_beat, found.confidence, found.metre == piece.metre, downbeat, sure)


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


def cut_anywhere(clip: EvaluationClip, rng: np.random.Generator, metre: str = "", beats_per_bar: int = 1) -> Piece:
    """A stretch of a loop that is played round, from any sample on; its metre where it is known."""
    rate = clip.waveform.sample_rate
    length = round(rng.uniform(*LENGTHS_S) * rate)
    start = int(rng.integers(clip.waveform.n_samples))
    times = -(-(start + length) // clip.waveform.n_samples)
    samples = np.tile(clip.waveform.samples, (times, 1))[start : start + length]
    beat_s = -(start / rate) % (beats_per_bar * seconds_per_beat(clip.bpm))
    return Piece(Waveform(samples, rate), clip.bpm, beat_s, _either(clip), metre, beats_per_bar)


def in_silence(clip: EvaluationClip, before_s: float, after_s: float) -> Piece:
    rate, n_channels = clip.waveform.sample_rate, clip.waveform.n_channels
    pads = [np.zeros((round(s * rate), n_channels), np.float32) for s in (before_s, after_s)]
    samples = np.concatenate([pads[0], clip.waveform.samples, pads[1]])
    return Piece(Waveform(samples, rate), clip.bpm, before_s, either_octave=_either(clip))


def composed(
    passages: int, seed: int, styles: Sequence[str] | None = None
) -> Iterator[tuple[EvaluationClip, str, int]]:
    """Passages of held-out seeds (in `styles`, else in all), the metre of each, and how many beats a bar has."""
    from melformer.corpus.build import iterate

    made = iterate(FIRST_HELD_OUT_SEED + seed, styles=styles, long=0.0)
    for index, (passage, waveform) in enumerate(islice(made, passages)):
        clip = EvaluationClip(str(index), waveform, passage.bpm, passage.n_beats)
        yield clip, passage.metre, passage.beats_per_bar


def whole_bars(clip: EvaluationClip, rng: np.random.Generator, metre: str, beats_per_bar: int) -> Piece:
    """The first one to eight bars."""
    n_bars = int(rng.integers(1, 1 + max(1, min(8, clip.n_beats // beats_per_bar))))
    edges = BeatGrid(clip.bpm, clip.waveform.sample_rate).edges(n_bars * beats_per_bar)
    return Piece(clip.waveform.slice(0, int(edges[-1])), clip.bpm, 0.0, False, metre, beats_per_bar)


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
    for clip, *bar in composed(args.passages, args.seed):
        yield "composed passages, 1 to 8 whole bars", whole_bars(clip, rng, *bar)
        yield "composed passages, played round and cut anywhere", cut_anywhere(clip, rng, *bar)
        for _ in range(args.more_cuts):
            yield "more cuts of composed passages", cut_anywhere(clip, rng, *bar)
    for clip, *bar in composed(args.passages, args.seed, EVALUATION_STYLES):
        yield "passages in styles that nothing was fitted on, 1 to 8 whole bars", whole_bars(clip, rng, *bar)
        yield "the same, played round and cut anywhere", cut_anywhere(clip, rng, *bar)
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
        "metre": share([v.metre for v in verdicts]),
        "downbeat": share([v.downbeat for v in verdicts]),
    }


def calibration(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Mean confidence and share right in fifths by confidence, what they differ by, for tempo and for what is known of
    beats and bars; and the worst fault."""
    fifths, expected_error = _fifths([(v.confidence, v.kind == "right") for v in verdicts])
    sure = [v.kind != "right" and v.confidence >= SURE for v in verdicts]
    answers = [(v.on_beat, v.metre, v.downbeat) for v in verdicts]
    others = {
        name: _fifths([(v.sure[i], known) for v, a in zip(verdicts, answers) if (known := a[i]) is not None])[1]
        for i, name in enumerate(("first_beat", "metre", "downbeat"))
    }
    return {
        "n": len(verdicts), "fifths": fifths, "expected_error": expected_error, "expected_errors_of_others": others,
        "sure_and_not_right": float(np.mean(sure)),
        "sure_and_wrong": float(np.mean([s and v.kind == "wrong" for s, v in zip(sure, verdicts)])),
    }  # fmt: skip


def _fifths(pairs: Sequence[tuple[float, bool]]) -> tuple[list[dict[str, float]], float | None]:
    """(confidence, right) in fifths by confidence, and the expected calibration error; None of nothing."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    parts = [
        np.array(ordered[part[0] : part[-1] + 1]) for part in np.array_split(np.arange(len(ordered)), 5) if len(part)
    ]
    fifths = [dict(zip(("confidence", "right"), part.mean(axis=0).tolist())) for part in parts]
    off = [abs(fifth["confidence"] - fifth["right"]) * len(part) for fifth, part in zip(fifths, parts)]
    return fifths, sum(off) / len(ordered) if ordered else None


def report(found: dict[str, Any]) -> str:
    """Tables of what was measured."""
    columns = ("right", "octave", "wrong", "first_beat", "metre", "downbeat")
    rows = [
        [name, s["n"], *(float("nan") if s[key] is None else 100.0 * s[key] for key in columns)]
        for name, s in found["sets"].items()
    ]
    trust = found["calibration"]
    fifths = [[str(i), fifth["confidence"], 100.0 * fifth["right"]] for i, fifth in enumerate(trust["fifths"], 1)]
    others = [(name.replace("_", " "), error) for name, error in trust["expected_errors_of_others"].items()]
    return "\n\n".join([
        table(["clips", "number", *(f"{key.replace('_', ' ')} %" for key in columns)], rows),
        table(["fifth by confidence", "confidence", "right %"], fifths),
        f"expected calibration error {trust['expected_error']:.3f}; at {SURE} or more and wrong: "
        f"{100 * trust['sure_and_wrong']:.1f}%, or an octave off: {100 * trust['sure_and_not_right']:.1f}%",
        *(f"expected calibration error of {name}: {error:.3f}" for name, error in others if error is not None),
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
