"""From which level on a loop's edges count as sound: passages of the engine in several kinds of silence.

python run.py [--passages 12] [--seed 75] [-o results.json]
"""

import argparse
import io
import itertools
import json
from pathlib import Path

import numpy as np
import soundfile

from melformer.audio import edges
from melformer.audio.grid import BeatGrid
from melformer.audio.waveform import Waveform
from melformer.corpus.build import iterate
from melformer.corpus.passage import Passage

THRESHOLDS_DB = (-40, -45, -50, -55, -60, -65, -70, -75, -80, -85, -90)
SILENCES = ("digital", "dither", "mp3", "noise -80", "noise -70", "noise -60")
NEAR_S = 0.01  # where lengths still give the tempo to 0.5% in two seconds


def loop_of(passage: Passage, waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """The passage's first one to four bars."""
    n_bars = int(rng.integers(1, 1 + max(1, min(4, passage.n_beats // passage.beats_per_bar))))
    end = BeatGrid(passage.bpm, waveform.sample_rate).edges(passage.beats_per_bar * n_bars)[-1]
    return waveform.slice(0, int(end))


def in_silence(loop: Waveform, silence: str, before_s: float, after_s: float, rng: np.random.Generator) -> Waveform:
    """The loop with something that is no music before and after it, as files have it."""
    rate = loop.sample_rate
    pads = [np.zeros((round(s * rate), loop.n_channels), np.float32) for s in (before_s, after_s)]
    samples = np.concatenate([pads[0], loop.samples, pads[1]])
    peak = float(np.abs(samples).max())
    if silence == "dither":  # of 16 bits, triangular
        samples = samples + (rng.random(samples.shape) - rng.random(samples.shape)) / 32_768
    elif silence.startswith("noise"):  # of a preamplifier, whose peaks lie so many dB under the loop's
        samples = samples + peak * 10 ** (float(silence.split()[1]) / 20) / 4 * rng.standard_normal(samples.shape)
    elif silence == "mp3":
        file = io.BytesIO()
        soundfile.write(file, samples / max(1.0, peak), rate, format="MP3", subtype="MPEG_LAYER_III")
        file.seek(0)
        samples = soundfile.read(file, dtype="float32", always_2d=True)[0]
    return Waveform(np.ascontiguousarray(samples, np.float32), rate)


def errors_s(clip: Waveform, start_s: float, stop_s: float) -> list[tuple[float, float]]:
    """How late start and end are taken, in s, at each threshold."""
    found = []
    for threshold_db in THRESHOLDS_DB:
        edges.SILENT_DB = threshold_db
        measured = edges.find_edges(clip)
        found.append((measured.start_s - start_s, measured.stop_s - stop_s))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=12)
    parser.add_argument("--seed", type=int, default=75)
    parser.add_argument("-o", dest="out", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    errors: dict[str, list[list[tuple[float, float]]]] = {silence: [] for silence in SILENCES}
    for passage, whole in itertools.islice(iterate(args.seed, long=0.0), args.passages):
        loop = loop_of(passage, whole, rng)
        before_s, after_s = (float(np.exp(rng.uniform(np.log(0.02), np.log(2.0)))) for _ in range(2))
        for silence in SILENCES:
            clip = in_silence(loop, silence, before_s, after_s, rng)
            errors[silence].append(errors_s(clip, before_s, before_s + loop.duration_s))
    near = {s: np.abs(np.array(rows)) <= NEAR_S for s, rows in errors.items()}  # (passages, thresholds, 2)
    shares = {
        s: {str(t): [round(float(x), 2) for x in hit[:, i].mean(axis=0)] for i, t in enumerate(THRESHOLDS_DB)}
        for s, hit in near.items()
    }
    mean = np.mean([hit.mean(axis=(0, 2)) for hit in near.values()], axis=0)
    result = {
        "passages": args.passages, "seed": args.seed, "start and end within 10 ms": shares,
        "mean": {str(t): round(float(x), 3) for t, x in zip(THRESHOLDS_DB, mean)},
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
