"""Write the prompts that the protocol would give, so that another system can continue them:

    python tools/write_prompts.py DIR_OF_LOOPS OUT_DIR [--beats N]

OUT_DIR gets NAME.wav (what a system may see) and `tasks.json`: for each, BPM, beats given, beats and samples wanted.
"""

import argparse
import json
import sys
from pathlib import Path

from melformer.audio.grid import BeatGrid
from melformer.audio.io import write_waveform
from melformer.errors import MelformerError
from melformer.evaluate.protocol import cut
from melformer.evaluate.report import MAX_BEATS, at_most
from melformer.evaluate.sets import folder_clips
from melformer.files import atomic_path


def write_prompts(folder: str | Path, out_dir: str | Path, n_new: int | None = None) -> list[dict[str, str | float]]:
    """Write prompts and tasks; give the tasks. Errors: AudioError for a folder without usable loops."""
    clips, _ = folder_clips(folder)
    tasks: list[dict[str, str | float]] = []
    for clip in clips:
        case = cut(at_most(clip, MAX_BEATS), n_new=n_new)
        rate = case.prompt.sample_rate
        edges = BeatGrid(case.bpm, rate).edges(case.n_prompt + case.n_new)
        write_waveform(Path(out_dir) / f"{case.name}.wav", case.prompt, bpm=case.bpm, encoding="pcm24")
        tasks.append(
            {
                "file": f"{case.name}.wav",
                "bpm": case.bpm,
                "sample_rate": rate,
                "prompt_beats": case.n_prompt,
                "new_beats": case.n_new,
                "new_samples": int(edges[-1]) - case.prompt.n_samples,
            }
        )
    with atomic_path(Path(out_dir) / "tasks.json") as temporary:
        temporary.write_text(json.dumps(tasks, indent=1) + "\n", encoding="utf-8")
    return tasks


def main(argv: list[str] | None = None) -> int:
    """Write prompts; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description="Write the prompts of the continuation benchmark.")
    parser.add_argument("folder", type=Path, metavar="DIR_OF_LOOPS")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--beats", type=int, metavar="N", help="whole loops as prompts for N beats")
    arguments = parser.parse_args(argv)
    try:
        tasks = write_prompts(arguments.folder, arguments.out_dir, arguments.beats)
    except MelformerError as error:
        print(f"prompts: {error}", file=sys.stderr)
        return 2
    print(f"{len(tasks)} prompts in {arguments.out_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
