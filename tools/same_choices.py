#!/usr/bin/env python3
"""Whether a seed gives the same music streamed, whole, resumed from a saved state, alone and among other takes.

    python tools/same_choices.py DIR_OF_LOOPS [--seeds 20] [--beats 8] [-o docs/results/same_choices.json]

Choices must be equal, samples within 1e-5. Exit status 1 where they are not.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from melformer import Melformer
from melformer.audio.io import audio_files
from melformer.errors import AudioError
from melformer.evaluate.results import write_results
from melformer.generate import BeatStream
from melformer.generate.prompt import Prompt

CLOSE, AT_ONCE = 1e-5, 10


def played(stream: BeatStream) -> tuple[list[object], np.ndarray]:
    """Choices and samples of a stream's beats."""
    beats = list(stream)
    return [beat.sources for beat in beats], np.concatenate([beat.waveform.samples for beat in beats])


def differences(model: Melformer, prompt: Prompt, seeds: list[int], n_beats: int) -> list[str]:
    """Each way of making a take that does not give what the others give, with its seed."""
    found = []
    groups = [seeds[i : i + AT_ONCE] for i in range(0, len(seeds), AT_ONCE)]
    for seed, among in zip(seeds, [take for group in groups for take in model.generate(prompt, n_beats, seeds=group)]):
        alone = model.generate(prompt, n_beats, seed=seed)
        stream = model.stream(prompt, n_beats // 2, seed)
        first = played(stream)
        with tempfile.TemporaryDirectory() as folder:
            stream.state().save(Path(folder) / "state")
            rest = played(model.resume(Path(folder) / "state", n_beats - n_beats // 2))
        streamed = played(model.stream(prompt, n_beats, seed))
        expected = [beat.sources for beat in alone.beats], alone.new.samples
        ways = {
            "among other takes": ([beat.sources for beat in among.beats], among.new.samples), "streamed": streamed,
            "resumed": (first[0] + rest[0], np.concatenate([first[1], rest[1]])),
        }  # fmt: skip
        for name, (sources, samples) in ways.items():
            if sources != expected[0] or float(np.abs(samples - expected[1]).max()) > CLOSE:
                found.append(f"{prompt.name}, seed {seed}, {name}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loops", type=Path, metavar="DIR_OF_LOOPS")
    parser.add_argument("--seeds", type=int, default=20, metavar="N")
    parser.add_argument("--beats", type=int, default=8, metavar="N")
    parser.add_argument("-o", dest="output", type=Path, metavar="RESULT.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, files, found, n_loops = Melformer.from_pretrained(), audio_files(options.loops), [], 0
    for path in tqdm(files, unit="loop"):
        try:
            prompt = model.prompt(path)
        except AudioError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        n_loops += 1
        found += differences(model, prompt, list(range(options.seeds)), options.beats)
    n_compared = 3 * n_loops * options.seeds
    print(f"{n_loops} loops, {options.seeds} seeds, {options.beats} beats: {len(found)} of {n_compared} differ")
    print("\n".join(found))
    if options.output:
        values = {"n_loops": n_loops, "n_seeds": options.seeds, "n_compared": n_compared, "differ": found}
        write_results(options.output, f"python tools/same_choices.py real_a --seeds {options.seeds}", values)
    return 1 if found or not n_loops else 0


if __name__ == "__main__":
    sys.exit(main())
