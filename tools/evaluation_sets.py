"""Evaluation sets, never trained on: (a) real loops, (b) clips of real music, (c) passages of our own engine.

    python tools/evaluation_sets.py OUT_DIR [--engine N] [--music ROOT]

writes them as FLAC with the BPM in the name: OUT_DIR/real_a, OUT_DIR/real_b, OUT_DIR/engine_c. (a) comes from
Debian's sonic-pi-samples; (b) from hyperrogue-music, hedgewars-data, freedroidrpg-data and wesnoth-1.16-music
(GPL or CC-BY-SA: for measuring only). Packages that are unpacked (dpkg -x PACKAGE ROOT) and not installed do as well.
A file that is missing is left out.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from melformer.audio.grid import BeatGrid
from melformer.audio.io import read_waveform, write_waveform
from melformer.audio.waveform import Waveform
from melformer.evaluate.sets import FIRST_HELD_OUT_SEED, EvaluationClip, on_grid

FACTS = Path(__file__).parent / "real_clips.json"
SONIC_PI = Path("/usr/share/sonic-pi/samples")
REAL_LOOP_BPM = {  # by length, which is a whole number of beats
    "loop_compus": 148.0,
    "loop_garzul": 120.0,
    "loop_mika": 120.0,
    "loop_safari": 119.92,
    "loop_tabla": 89.94,
    "loop_industrial": 135.7,
    "loop_3d_printer": 120.62,
    "loop_electric": 97.0,
    "loop_weirdo": 97.0,
    "loop_perc1": 97.0,
    "loop_perc2": 97.0,
    "loop_mehackit1": 97.0,
    "loop_mehackit2": 97.0,
}
N_CLIP_BEATS = 32


def real_loops(folder: str | Path = SONIC_PI) -> Iterator[EvaluationClip]:
    """Set (a): the real loops whose exact BPM is known, trimmed to whole beats."""
    for name, bpm in REAL_LOOP_BPM.items():
        path = Path(folder) / f"{name}.flac"
        if path.exists():
            yield on_grid(name, read_waveform(path), bpm)


def real_clips(root: str | Path = "/") -> Iterator[EvaluationClip]:
    """Set (b): 32 beats each of real music, where real_clips.json says, from packages installed under `root`."""
    facts = json.loads(FACTS.read_text())
    for number, fact in enumerate(facts):
        path = Path(root) / fact["track"].lstrip("/")
        if not path.exists():
            continue
        waveform = read_waveform(path)
        edges = BeatGrid(fact["bpm"], waveform.sample_rate).edges(N_CLIP_BEATS)
        start = round(fact["start_s"] * waveform.sample_rate)
        stop = min(waveform.n_samples, start + int(edges[-1]))
        part = Waveform(waveform.samples[start:stop].copy(), waveform.sample_rate)  # or the whole track stays in memory
        yield on_grid(f"{number:02d}_{path.stem}", part, fact["bpm"])


def engine_loops(n_loops: int, n_beats: int = 16, first_seed: int = FIRST_HELD_OUT_SEED) -> Iterator[EvaluationClip]:
    """Set (c): passages of our own engine, seeds from 10,000,000 on."""
    from melformer.corpus import compose, render  # loads sample banks

    for seed in range(first_seed, first_seed + n_loops):
        passage = compose(seed, n_beats=n_beats)
        yield on_grid(f"engine_{seed}", render(passage), passage.bpm)


def write_clips(clips: Iterable[EvaluationClip], folder: str | Path) -> int:
    """Write clips as FLAC, 24 bits, named NAME_BPMbpm.flac; give how many."""
    count = 0
    for clip in clips:
        path = Path(folder) / f"{clip.name}_{clip.bpm:g}bpm.flac"
        write_waveform(path, clip.waveform, bpm=clip.bpm, encoding="pcm24")
        count += 1
    return count


def main() -> None:
    """Write the sets."""
    parser = argparse.ArgumentParser(description="Write the evaluation sets as FLAC.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--engine", type=int, default=0, metavar="N", help="also N held-out loops of the engine")
    parser.add_argument("--music", type=Path, default=Path("/"), metavar="ROOT", help="where the packages are unpacked")
    arguments = parser.parse_args()
    sets = {"real_a": real_loops(), "real_b": real_clips(arguments.music)}
    if arguments.engine:
        sets["engine_c"] = engine_loops(arguments.engine)
    for name, clips in sets.items():
        print(f"{name}: {write_clips(clips, arguments.out_dir / name)} clips")


if __name__ == "__main__":
    main()
