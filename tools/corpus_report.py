"""What the corpus promises, measured: speed, memory, variety, onsets and tempo.

python tools/corpus_report.py pace [--passages 60]
python tools/corpus_report.py memory [--hours 6] [--picture memory.png]
python tools/corpus_report.py fingerprints [--loops 10000]
python tools/corpus_report.py onsets [--passages 100]
python tools/corpus_report.py tempo [--passages 100] [--keep FOLDER]    # then benchmarks/ask_madmom.py FOLDER
"""

import argparse
import itertools
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from melformer.audio.io import Waveform, write_waveform
from melformer.corpus.build import allowed_styles, iterate, nth_passage
from melformer.corpus.composition.compose import compose
from melformer.corpus.mixing.mixdown import render
from melformer.corpus.passage import Event, Part, Passage
from melformer.corpus.synthesis.player import onset_sample, play
from melformer.corpus.synthesis.samples import first_sample

# Styles of 4/4 without swing whose kick or snare keeps the beat, so that a tempo tool can be asked for it.
STRAIGHT = (
    "house", "techno", "trance", "disco", "rock", "synthwave", "hardcore", "funk", "reggae", "drum and bass",
    "breakbeat", "boom bap",
)  # fmt: skip
_SYNTHESIS: frozenset[str] = frozenset()
_SILENT = 1e-7
_ROUND = 15  # passages of one kind before the other has its turn, so that neither lives on the other's caches


def pace(passages: int, seed: int = 1) -> dict[str, float]:
    """Seconds of music for a second of one core's time, without and with the material installed, by turns."""
    sides = {"synthesis alone": iterate(seed, kinds=_SYNTHESIS), "with what is installed": iterate(seed)}
    spent, music = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for rounds in range(-(-passages // _ROUND) + 1):  # in the first one fonts and tables are loaded
        for name, stream in sides.items():
            start = time.process_time()
            seconds = sum(passage.duration_s for passage, _ in itertools.islice(stream, _ROUND))
            if rounds:
                spent[name] += time.process_time() - start
                music[name] += seconds
    return {name: music[name] / spent[name] for name in sides}


def memory(hours: float, seed: int = 5) -> Iterator[tuple[float, float]]:
    """(hours of music composed and rendered, resident megabytes) of this process, about every three minutes of music.

    Errors: FileNotFoundError where there is no /proc.
    """
    seconds, reported = 0.0, 0.0
    for passage, _ in iterate(seed):
        seconds += passage.duration_s
        if seconds - reported >= 180.0:
            reported = seconds
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            yield seconds / 3600.0, pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        if seconds >= hours * 3600.0:
            return


def trend(rows: list[tuple[float, float]]) -> float:
    """Megabytes an hour: the straight line through the rows after their first quarter, in which caches fill."""
    later = np.array(rows[len(rows) // 4 :])
    return float(np.polyfit(later[:, 0], later[:, 1], 1)[0])


def draw_memory(rows: list[tuple[float, float]], path: str | Path) -> None:
    """Resident memory over hours of music, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 2.6))
    axis.plot(*np.array(rows).T, linewidth=1)
    axis.set(xlabel="hours of music composed and rendered by one process", ylabel="resident, MB", ylim=(0, None))
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def same_fingerprints(loops: int, seed: int = 1) -> tuple[int, int]:
    """How many of so many short loops have the fingerprint of another one; and how many do, heard coarsely.

    Coarsely: what is struck or sung on which sixteenth, without velocities, lengths, swing and a hand's unevenness.
    """
    names = allowed_styles(None)
    fine, coarse = set(), set()
    for index in range(loops):
        passage = nth_passage(seed, index, names, 0.0, _SYNTHESIS)
        fine.add(passage.fingerprint())
        struck = ((part.name, e) for part in passage.parts for e in part.events)
        notes = frozenset((name, e.sound or e.pitch, round(4 * e.start_beats)) for name, e in struck)
        coarse.add((passage.beats_per_bar, passage.n_beats, notes))
    return loops - len(fine), loops - len(coarse)


def onsets(passages: int, material: bool = False, seed: int = 3, sample_rate: int = 44_100) -> tuple[int, int]:
    """(onsets found on their very sample, onsets looked at): sounds that come after silence, of synthesis or of the
    installed `material` alone.

    A synthesised sound is on its sample when its part is silent up to it and is heard within 3 samples of it; a
    recorded one, when that is so of the place where it begins (`attack`). What comes within 50 samples of another
    sound of its part (a flam, the notes of a chord) is passed over: there is no silence to tell.
    """
    hits = seen = 0
    for index in range(passages):
        passage = nth_passage(seed, index, allowed_styles(None), 0.0, None if material else _SYNTHESIS)
        for part in passage.parts:
            if part.name == "fx":
                continue
            n = round(passage.duration_s * sample_rate)
            sound = np.abs(play(part, passage.bpm, n, sample_rate)).max(axis=0)
            recorded = {onset_sample(e, passage.bpm, sample_rate) for e in part.events if _is_recorded(part, e)}
            last, starts = -math.inf, sorted({onset_sample(e, passage.bpm, sample_rate) for e in part.events})
            for start, stop in zip(starts, [*starts[1:], n]):
                crowded, last = start - last <= 50, start
                if crowded or start + 50 > n or (start in recorded) != material:
                    continue
                if (sound[max(0, start - 50) : max(0, start - 20)] > _SILENT).any():
                    continue  # the one before still rings
                seen += 1
                heard = sound[start:stop]
                begin = first_sample(heard, sample_rate) if material else int(np.argmax(heard > _SILENT))
                hits += not (sound[max(0, start - 20) : start] > _SILENT).any() and begin <= 3
    return hits, seen


def _is_recorded(part: Part, event: Event) -> bool:
    """Whether an event sounds by a soundfont or a one-shot."""
    if part.instrument == "drums":
        return not part.params["kit"][event.sound].keys().isdisjoint({"sample", "preset"})
    return part.instrument == "gm"


def tempo_loops(passages: int) -> Iterator[tuple[Passage, Waveform]]:
    """Passages of 32 beats with drums, in the straight styles by turns."""
    found = 0
    for seed, style in zip(itertools.count(40_000), itertools.cycle(STRAIGHT)):
        passage = compose(seed, style, 32)
        if passage.metre == "4/4" and {"kick", "snare", "hats"} & {part.name for part in passage.parts}:
            yield passage, render(passage)
            found += 1
        if found == passages:
            return


def agrees(bpm: float, truth: float, tolerance: float = 0.04) -> bool:
    """Whether two tempos are the same, or one is twice or four times the other."""
    octaves = np.log2(bpm / truth)
    return bool(abs(octaves - round(octaves)) < np.log2(1 + tolerance) and abs(octaves) < 2.5)


def tempo(passages: int, keep: str | None = None) -> list[tuple[Passage, float]]:
    """What librosa hears in each of the `tempo_loops`; `keep` names a folder for their FLACs, to ask other tools."""
    import librosa

    heard = []
    for number, (passage, waveform) in enumerate(tempo_loops(passages)):
        if keep:
            file = f"{number:03d}_{passage.style.replace(' ', '_')}_{passage.bpm:g}bpm.flac"
            write_waveform(Path(keep) / file, waveform, bpm=passage.bpm)
        mono = np.tile(waveform.mono().samples[:, 0], 2)  # twice, as a loop is heard
        heard.append((passage, float(np.atleast_1d(librosa.beat.beat_track(y=mono, sr=waveform.sample_rate)[0])[0])))
    return heard


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description="Measure what the corpus promises.")
    parser.add_argument("what", choices=("pace", "memory", "fingerprints", "onsets", "tempo"))
    parser.add_argument("--passages", type=int, default=60)
    parser.add_argument("--loops", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--picture", help="memory: where to draw it")
    parser.add_argument("--keep", help="tempo: a folder for the loops that were asked about")
    arguments = parser.parse_args()
    if arguments.what == "pace":
        for name, times in pace(arguments.passages).items():
            print(f"{name}: {times:.1f} x real time a core")
    elif arguments.what == "memory":
        _print_memory(arguments.hours, arguments.picture)
    elif arguments.what == "fingerprints":
        same, alike = same_fingerprints(arguments.loops)
        print(f"{same} of {arguments.loops} loops share a fingerprint, {alike} by sixteenths alone")
    elif arguments.what == "onsets":
        for name, material in (("synthesised", False), ("recorded", True)):
            hits, seen = onsets(arguments.passages, material)
            print(f"{hits} of {seen} {name} onsets on their sample")
    else:
        _print_tempo(arguments.passages, arguments.keep)


def _print_memory(hours: float, picture: str | None) -> None:
    rows = []
    for row in memory(hours):
        rows.append(row)
        print(f"{row[0]:.2f} h: {row[1]:.0f} MB", flush=True)
    print(f"trend {trend(rows):+.1f} MB an hour")
    if picture:
        draw_memory(rows, picture)


def _print_tempo(passages: int, keep: str | None) -> None:
    heard = tempo(passages, keep)
    right = sum(agrees(bpm, passage.bpm) for passage, bpm in heard)
    for passage, bpm in heard:
        if not agrees(bpm, passage.bpm):
            print(f"{passage.style} {passage.seed}: {passage.bpm:g} BPM, heard {bpm:.1f}")
    print(f"librosa agrees on {right} of {len(heard)}")


if __name__ == "__main__":
    main()
