"""Chooses the clips of real music: stretches whose beats, by an independent tracker, lie on a straight line.

    python tools/choose_clips.py BEATS.jsonl

BEATS.jsonl holds one object a line: {"path": audio file, "beats": [seconds, …]}, from any beat tracker (ours
was madmom's recurrent network with its dynamic Bayesian network, in its own virtual environment). The result
is `tools/real_clips.json`: facts only (which track, BPM, start), never audio.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import evaluation_sets
import numpy as np

from melformer.audio.grid import bpm_of
from melformer.audio.io import read_waveform
from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.evaluate.metrics import onset_agreement

N_CLIPS = 60
N_BEATS = 32
FIRST_BEAT = 4  # from the second bar on: tracks fade in, and trackers need time to settle
TOLERANCE_S = 0.015


@dataclass(frozen=True)
class ClipFact:
    """Where a clip of real music lies, and how far its onsets near beats are from the grid (RMS)."""

    track: str  # absolute path as the Debian package installs it
    bpm: float
    start_s: float
    off_grid_ms: float


def straight_stretch(beats: np.ndarray, first: int) -> tuple[float, float] | None:
    """Period and start in seconds of N_BEATS beats from index `first`, None where they are not on a line.

    On a line: 90% of the beats within 15 ms of it, all within 30 ms.
    """
    times = beats[first : first + N_BEATS + 1]
    if len(times) <= N_BEATS:
        return None
    index = np.arange(len(times))
    period, start = np.polyfit(index, times, 1)
    off = np.abs(times - (start + period * index))
    straight = np.quantile(off, 0.9) <= TOLERANCE_S and off.max() <= 2 * TOLERANCE_S
    return (float(period), float(start)) if straight else None


def refined(waveform: Waveform, period_s: float, start_s: float) -> tuple[float, float, float] | None:
    """Period, start and RMS error in seconds of a line through the onsets within 25 ms of a beat.

    A tracker's frames are 10 ms long; onsets are known to 3 ms. None with fewer onsets than half the beats.
    """
    begin = max(0, round((start_s - 0.5) * waveform.sample_rate))
    stop = min(waveform.n_samples, round((start_s + period_s * N_BEATS + 0.5) * waveform.sample_rate))
    clip = resample(waveform.slice(begin, stop).mono(), 44_100)
    times = onset_agreement.onset_times(clip.samples[:, 0], 44_100) + begin / waveform.sample_rate
    index = np.rint((times - start_s) / period_s)
    near = np.abs(times - (start_s + index * period_s)) <= 0.025
    if near.sum() < N_BEATS // 2:
        return None
    period, start = np.polyfit(index[near], times[near], 1)
    off = times[near] - (start + period * index[near])
    return float(period), float(start), float(np.sqrt(np.square(off).mean()))


def choose(path: str, beats: np.ndarray) -> ClipFact | None:
    """The first straight stretch of a track at 60 to 200 BPM, None where there is none."""
    found = [line for first in range(FIRST_BEAT, len(beats), 4) if (line := straight_stretch(beats, first))]
    if not found:
        return None
    waveform = read_waveform(path)
    better = refined(waveform, *found[0])
    if better is None:
        return None
    period, start, off = better
    inside = 0.0 <= start < waveform.duration_s - period * N_BEATS
    if not inside or not 60.0 <= bpm_of(1, period) <= 200.0:
        return None
    return ClipFact(path, round(bpm_of(1, period), 3), round(start, 4), round(off * 1e3, 1))


def main(beats_file: str) -> None:
    """Write real_clips.json: the straightest clips, one of a track."""
    lines = [json.loads(line) for line in Path(beats_file).read_text().splitlines()]
    facts = [fact for line in lines if (fact := choose(line["path"], np.array(line["beats"])))]
    chosen = sorted(sorted(facts, key=lambda fact: fact.off_grid_ms)[:N_CLIPS], key=lambda fact: fact.track)
    rows = ",\n".join(" " + json.dumps(asdict(fact)) for fact in chosen)
    evaluation_sets.FACTS.write_text(f"[\n{rows}\n]\n")
    print(f"{len(chosen)} clips of {len(facts)} straight tracks, of {len(lines)} in all")


if __name__ == "__main__":
    main(sys.argv[1])
