"""How many takes follow the loop at one lag, on clips of our own; see README.md.

    python experiments/2026-12-one-lag/run.py MIDI_DIR CLIPS_DIR

With lag.patch applied, `LAG_COST` of melformer/generate/planning/planner.py is the number of nats, else there is no
limit. The clips are also those of `melformer evaluate CLIPS_DIR --parts continuation --quick --takes 3`.
"""

import argparse
import sys
from pathlib import Path

from melformer import Melformer
from melformer.audio.grid import BeatGrid
from melformer.audio.io import write_waveform
from melformer.corpus import compose, render
from melformer.corpus.build import allowed_styles, passage_seed
from melformer.corpus.midi import MidiFolder
from melformer.evaluate.protocol import cut
from melformer.evaluate.sets import folder_clips

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from variation_report import shares

SEED, N_CLIPS, N_BEATS = 77012, 16, 32


def write_own_clips(midi: Path, folder: Path) -> None:
    """32 beats each of `N_CLIPS` passages of the engine and as many of MIDI files, in four."""
    files, names = MidiFolder(midi, SEED), allowed_styles(None)
    passages = [passage_seed(SEED, i) for i in range(N_CLIPS)]
    made = [(f"eng{i:02d}", compose(own, names[own % len(names)], n_beats=N_BEATS)) for i, own in enumerate(passages)]
    index, found = 0, 0
    while found < N_CLIPS:
        passage = files.passage(index, passage_seed(SEED, index), None)
        index += 1
        if passage.n_beats >= N_BEATS and passage.beats_per_bar == 4:
            made.append((f"mid{found:02d}", passage))
            found += 1
    for name, passage in made:
        waveform = render(passage)
        end = int(BeatGrid(passage.bpm, waveform.sample_rate).edges(N_BEATS)[-1])
        write_waveform(folder / f"{name}_{passage.bpm:.6g}bpm.wav", waveform.slice(0, min(end, waveform.n_samples)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("midi", type=Path)
    parser.add_argument("clips", type=Path)
    options = parser.parse_args()
    if not options.clips.exists():
        options.clips.mkdir(parents=True)
        write_own_clips(options.midi, options.clips)
    model, loops = Melformer.from_pretrained(), []
    for clip in folder_clips(options.clips)[0]:
        case = cut(clip)
        prompt = model.prompt(case.prompt, bpm=case.bpm, start_s=0.0, beats_per_bar=case.beats_per_bar)
        loops.append(model._loop_stems(prompt))
    for stem, row in shares(loops, model).items():
        print(stem, row)


if __name__ == "__main__":
    main()
