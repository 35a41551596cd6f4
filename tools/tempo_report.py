"""How often tempo, beat, bar and metre are found by the sound alone, and how far the confidence can be believed.

    python tools/tempo_report.py --loops real_a --clips real_b [--example examples/house_122bpm.flac]
        [--passages 200] [--more 1000] [-o docs/results/tempo.json]

`real_a` and `real_b` are folders of clips that name their BPM (`python -m melformer.evaluate.sets`). Passages are
composed, in styles and with seeds that no weight was trained or fitted on. Nothing is told but the sound.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.grid import BeatGrid, seconds_per_beat
from melformer.audio.tempo import find_tempo
from melformer.audio.tempo.beat_tracker import METRES
from melformer.audio.tempo.clip_features import BARS
from melformer.audio.waveform import Waveform
from melformer.errors import MelformerError, TempoError
from melformer.evaluate.sets import FIRST_HELD_OUT_SEED, EvaluationClip, folder_clips, read_clip
from melformer.evaluate.tables import table

SAME = 0.005  # of the tempo
NEAR_S = 0.03
N_CUTS = 20  # of each recorded loop
LENGTHS_S = (4.0, 12.0)
N_CLIP_BEATS = 24
BOTH_RIGHT = {"loop_compus": 2.0}  # may be counted twice as fast or half as fast
PADDINGS = (
    (0.01, 0.0), (0.015, 0.0), (0.025, 0.0), (0.2, 0.0), (1.0, 0.0), (4.0, 0.0), (0.0, 0.01), (0.0, 0.023), (0.0, 0.3),
    (0.0, 1.0), (0.0, 4.0), (0.025, 0.02), (0.5, 0.7), (2.0, 2.0),
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """What is analysed, and the truth: `beat_s` is where a beat is that begins a bar, in seconds from the start.

    `metre` and `is_bar` are None where nobody knows metre and bar; with `both` the double or half tempo is right too.
    """

    waveform: Waveform
    bpm: float
    beat_s: float = 0.0
    metre: str | None = None
    both: bool = False


@dataclass(frozen=True)
class Verdict:
    """`kind` is "right", "octave" (half or double the tempo), "wrong" or "none" (no tempo at all); the others are None
    where they cannot be judged."""

    kind: str
    confidence: float = 0.0
    on_beat: bool | None = None
    metre_right: bool | None = None
    downbeat_right: bool | None = None
    confidences: dict[str, float] = field(default_factory=dict)


def judge(piece: Piece) -> Verdict:
    """Analyse a piece, without its name or metadata, and compare."""
    try:
        found = find_tempo(Waveform(piece.waveform.samples, piece.waveform.sample_rate))
    except TempoError:
        return Verdict("none")
    ratios = {"right": 1.0, "double": 2.0, "half": 0.5}
    near = [name for name, ratio in ratios.items() if abs(found.bpm / (ratio * piece.bpm) - 1.0) <= SAME]
    if not near or found.is_one_shot:
        return Verdict("wrong", found.confidence)
    kind = "right" if near[0] == "right" or piece.both else "octave"
    beat_s = seconds_per_beat(max(found.bpm, piece.bpm))  # of the finer of the two grids
    on_beat = abs(_off(found.start_s - piece.beat_s, beat_s)) <= NEAR_S
    sure = {"beat": found.start_confidence, "metre": found.metre_confidence, "downbeat": found.downbeat_confidence}
    if near[0] != "right" or piece.metre is None:
        return Verdict(kind, found.confidence, on_beat, confidences=sure)
    metre_right = found.metre == piece.metre
    bar_s = seconds_per_beat(piece.bpm) * BARS[METRES.index(piece.metre)]
    first_bar_s = found.start_s + found.downbeat * seconds_per_beat(found.bpm)
    downbeat = abs(_off(first_bar_s - piece.beat_s, bar_s)) <= NEAR_S if metre_right else False
    return Verdict(kind, found.confidence, on_beat, metre_right, downbeat, sure)


def _off(seconds: float, period_s: float) -> float:
    return (seconds + period_s / 2) % period_s - period_s / 2


def cut_anywhere(whole: Piece, rng: np.random.Generator) -> Piece:
    """4 to 12 s of a loop that is played round, from any sample on."""
    rate, n_samples = whole.waveform.sample_rate, whole.waveform.n_samples
    length = round(rng.uniform(*LENGTHS_S) * rate)
    start = int(rng.integers(n_samples))
    times = -(-(start + length) // n_samples)
    samples = np.tile(whole.waveform.samples, (times, 1))[start : start + length]
    bar_s = seconds_per_beat(whole.bpm) * (BARS[METRES.index(whole.metre)] if whole.metre else 1)
    return Piece(Waveform(samples, rate), whole.bpm, (whole.beat_s - start / rate) % bar_s, whole.metre, whole.both)


def padded(whole: Piece, before_s: float, after_s: float) -> Piece:
    """The piece in silence."""
    rate, n_channels = whole.waveform.sample_rate, whole.waveform.n_channels
    pads = [np.zeros((round(s * rate), n_channels), np.float32) for s in (before_s, after_s)]
    samples = np.concatenate([pads[0], whole.waveform.samples, pads[1]])
    return Piece(Waveform(samples, rate), whole.bpm, whole.beat_s + len(pads[0]) / rate, whole.metre, whole.both)


def recorded(folder: Path) -> list[Piece]:
    """Loops of a folder; where their bars begin nobody wrote down."""
    return [
        Piece(clip.waveform, clip.bpm, both=any(clip.name.startswith(name) for name in BOTH_RIGHT))
        for clip in folder_clips(folder)[0]
    ]


def first_beats(clip: EvaluationClip) -> Piece:
    """The first 24 beats of a clip."""
    n_beats = min(N_CLIP_BEATS, clip.n_beats)
    return Piece(clip.waveform.slice(0, BeatGrid(clip.bpm, clip.waveform.sample_rate).edge(n_beats)), clip.bpm)


def composed(n: int, seed: int, metres: bool = False) -> Iterator[Piece]:
    """Loops of 1 to 8 bars in held-out styles; `metres`: each of the five metres as often as another."""
    from melformer.corpus import compose, render
    from melformer.train.tempo.tempo_material import EVALUATION_STYLES

    for i in range(n):
        style = EVALUATION_STYLES[i % len(EVALUATION_STYLES)]
        metre = METRES[i // len(EVALUATION_STYLES) % len(METRES)] if metres else None
        passage = compose(FIRST_HELD_OUT_SEED + 1_000 * seed + i, style, long=0.0, metre=metre)
        yield Piece(render(passage, 44_100), passage.bpm, 0.0, passage.metre)


@dataclass
class Row:
    """What a set of pieces shows."""

    name: str
    verdicts: list[Verdict]

    def numbers(self) -> dict[str, Any]:
        """Shares in per cent; None where nothing can be judged."""
        kinds = {kind: _share([v.kind == kind for v in self.verdicts]) for kind in ("right", "octave", "wrong", "none")}
        good = [v for v in self.verdicts if v.kind in ("right", "octave")]
        return {
            "n": len(self.verdicts), **kinds, "first_beat": _share([v.on_beat for v in good]),
            "metre": _share([v.metre_right for v in good]), "downbeat": _share([v.downbeat_right for v in good]),
        }  # fmt: skip


def _share(flags: Iterable[bool | None]) -> float | None:
    judged = [flag for flag in flags if flag is not None]
    return 100.0 * float(np.mean(judged)) if judged else None


def calibration(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Ten equal groups by confidence: expected calibration error, and how many are surely wrong.

    The expected calibration error (Naeini et al., 2015) is the mean distance of confidence and share of right ones.
    """
    confidence = np.array([v.confidence for v in verdicts])
    right = np.array([v.kind == "right" for v in verdicts])
    order = np.argsort(confidence, kind="stable")
    groups = [part for part in np.array_split(order, min(10, len(order))) if len(part)]
    error = sum(len(g) * abs(confidence[g].mean() - right[g].mean()) for g in groups) / max(1, len(order))
    surely_wrong = int(((confidence >= 0.9) & np.array([v.kind in ("wrong",) for v in verdicts])).sum())
    return {
        "n": len(verdicts), "expected_calibration_error": float(error), "surely_wrong": surely_wrong,
        "groups": [[float(confidence[g].mean()), float(right[g].mean())] for g in groups],
    }  # fmt: skip


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every set, judged."""
    rng = np.random.default_rng(args.seed)
    rows: list[Row] = []
    start, sound = time.process_time(), 0.0

    def add(name: str, pieces: Iterable[Piece]) -> None:
        nonlocal sound
        verdicts = []
        for piece in pieces:
            verdicts.append(judge(piece))
            sound += piece.waveform.duration_s
        if verdicts:
            rows.append(Row(name, verdicts))
            print(rows[-1].name, rows[-1].numbers(), file=sys.stderr, flush=True)

    loops = recorded(args.loops) if args.loops else []
    if loops:
        add("recorded loops, whole", loops)
        add(
            "recorded loops, played round and cut anywhere",
            (cut_anywhere(p, rng) for p in loops for _ in range(N_CUTS)),
        )
        extra = recorded_one(args.example) if args.example else []
        add("recorded loops and an example in silence", (padded(p, *pad) for p in loops + extra for pad in PADDINGS))
    own = list(composed(args.passages, args.seed))
    add("composed passages, whole", own)
    add("composed passages, played round and cut anywhere", (cut_anywhere(p, rng) for p in own))
    add("composed passages, each metre as often, whole", composed(args.passages // 2, args.seed + 1, metres=True))
    if args.clips:
        add("songs, the first 24 beats (set b)", (first_beats(c) for c in folder_clips(args.clips)[0]))
    spent = time.process_time() - start
    more = [
        cut_anywhere((own + loops)[int(rng.integers(len(own + loops)))], rng) for _ in range(args.more if own else 0)
    ]
    add("more cuts, for the confidence", more)
    everything = [v for row in rows for v in row.verdicts]
    four = [
        v
        for row in rows
        for v, known in zip(row.verdicts, [row.name.startswith("composed")] * len(row.verdicts))
        if known
    ]
    return {
        "rows": {row.name: row.numbers() for row in rows}, "confidence": calibration(everything),
        "downbeat_in_known_metre": _share([v.downbeat_right for v in four if v.metre_right]),
        "seconds_of_a_core_for_8_s": 8.0 * spent / max(sound, 1e-9),
        "verdicts": {row.name: [asdict(v) for v in row.verdicts] for row in rows} if args.verdicts else None,
    }  # fmt: skip


def recorded_one(path: Path) -> list[Piece]:
    """One file as a piece, by the BPM in its name."""
    clip = read_clip(path)
    return [Piece(clip.waveform, clip.bpm)]


def show(result: dict[str, Any]) -> str:
    """Tables of the result."""
    heads = ["clips", "number", "right %", "octave %", "wrong %", "no tempo %", "first beat %", "metre %", "downbeat %"]
    rows = [
        [name, *(float("nan") if value is None else value for value in row.values())]
        for name, row in result["rows"].items()
    ]
    sure = result["confidence"]
    groups = [[str(i), *pair] for i, pair in enumerate(sure["groups"], 1)]
    return "\n\n".join([
        table(heads, rows), table(["tenth by confidence", "confidence", "right"], groups),
        f"expected calibration error {sure['expected_calibration_error']:.3f}; {sure['surely_wrong']} of {sure['n']} "
        f"are wrong at a confidence of 0.9 or more; {result['seconds_of_a_core_for_8_s']:.2f} s of a core for 8 s",
    ])  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description="How often tempo, beat, bar and metre are found by the sound alone.")
    parser.add_argument("--loops", type=Path, help="a folder of recorded loops that name their BPM")
    parser.add_argument("--clips", type=Path, help="a folder of clips of songs that name their BPM")
    parser.add_argument("--example", type=Path, help="one loop more for the paddings")
    parser.add_argument("--passages", type=int, default=200, help="composed passages (200)")
    parser.add_argument("--more", type=int, default=1_000, help="cuts more, for the confidence (1,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verdicts", action="store_true", help="write what was found for each piece, too")
    parser.add_argument("-o", dest="out", type=Path, metavar="TEMPO.json")
    args = parser.parse_args(argv)
    try:
        result = measure(args)
    except MelformerError as error:
        print(f"tempo_report: {error}", file=sys.stderr)
        return 2
    print(show(result))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
