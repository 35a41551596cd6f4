"""How many files the data of one new beat enters: the calls that lead from one file of the package into another.

    python tools/count_switches.py [LOOP] [--seed 7] [--beats 4]

Prints the number of switches and of files for each beat after the first, and the files that were entered most.
"""

import argparse
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import melformer

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(melformer.__file__).parent


class SwitchCounter:
    """Counts, in every thread, the calls whose caller in the package stands in another of its files."""

    def __init__(self) -> None:
        self.entered: Counter[str] = Counter()
        self.files: set[str] = set()
        self._known: dict[CodeType, str | None] = {}

    def _file(self, frame: FrameType) -> str | None:
        code = frame.f_code
        if code not in self._known:
            path = Path(code.co_filename)
            inside = path.is_relative_to(PACKAGE)
            self._known[code] = str(path.relative_to(PACKAGE)) if inside else None
        return self._known[code]

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or (file := self._file(frame)) is None:
            return
        self.files.add(file)
        caller = frame.f_back
        while caller is not None and (origin := self._file(caller)) is None:
            caller = caller.f_back  # torch and numpy stand between two of our own files
        if caller is not None and origin != file:
            self.entered[file] += 1

    def __enter__(self) -> "SwitchCounter":
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loop", nargs="?", default=str(ROOT / "examples" / "house_122bpm.flac"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--beats", type=int, default=4)
    args = parser.parse_args()

    stream = melformer.Melformer.from_pretrained().stream(args.loop, seed=args.seed)
    next(stream)
    total: Counter[str] = Counter()
    for beat in range(1, args.beats):
        with SwitchCounter() as counter:
            next(stream)
        total += counter.entered
        print(f"beat {beat}: {sum(counter.entered.values())} switches, {len(counter.files)} files")
    for file, count in total.most_common():
        print(f"{count / (args.beats - 1):8.0f}  {file}")


if __name__ == "__main__":
    main()
