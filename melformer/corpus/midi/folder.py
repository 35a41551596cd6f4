"""A folder of MIDI files as an endless source of passages."""

import json
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from melformer.corpus import sound_sources
from melformer.corpus.midi.arrange import arrange
from melformer.corpus.midi.score import Score, read_score
from melformer.corpus.passage import Passage
from melformer.errors import MidiError

SUFFIXES = (".mid", ".midi", ".smf")
UNKNOWN = {"name": "MIDI files of the person who built the corpus", "licence": "not stated"}


class MidiFolder:
    """The MIDI files under a path, which may be one file, in an order of their own for every seed.

    Files are read when their turn comes. What `source.json` in the folder says (`name` and `licence`) goes into the
    passages; without it they come from a person unknown. Errors: MidiError where there is no file.
    """

    def __init__(self, path: str | Path, seed: int) -> None:
        path = Path(path)
        files = midi_files(path)
        self.files = [files[i] for i in np.random.default_rng([seed, 3]).permutation(len(files))]
        self.source = _read_source(path if path.is_dir() else path.parent)
        self._left_out: dict[Path, str] = {}

    def passage(self, index: int, seed: int, kinds: frozenset[str] | None = None) -> Passage:
        """The passage of an index: the files take turns, and `seed` decides what becomes of the one whose turn it is.

        A file that cannot be used is left out, named once on stderr, and the next one takes its turn.
        Errors: MidiError where no file can be used, with the reason of the first.
        """
        kinds = sound_sources.found() if kinds is None else kinds
        for step in range(len(self.files)):
            path = self.files[(index + step) % len(self.files)]
            if path in self._left_out:
                continue
            try:
                return arrange(_score(path), seed, self.source, kinds)
            except MidiError as error:
                self._left_out[path] = str(error)
                if len(self._left_out) < len(self.files):
                    tqdm.write(f"left out: {error}", file=sys.stderr)
        raise MidiError(f"No MIDI file can be used: {next(iter(self._left_out.values()))}")


def midi_files(path: Path) -> list[Path]:
    """Every MIDI file under a folder, or the one that is given. Errors: MidiError where there is none."""
    if not path.exists():
        raise MidiError(f"{path} does not exist; give a folder of MIDI files, or one.")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise MidiError(f"{path} holds no MIDI files; give a folder that holds some ({', '.join(SUFFIXES)}).")
    return files


@lru_cache(maxsize=512)
def _score(path: Path) -> Score:
    return read_score(path)


def _read_source(folder: Path) -> dict[str, str]:
    """Errors: MidiError for a `source.json` that does not name a source and its licence."""
    path = folder / "source.json"
    if not path.exists():
        return UNKNOWN
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        source = {key: facts[key] for key in ("name", "licence")}
    except (OSError, ValueError, KeyError, TypeError):
        source = {"name": ""}
    if not all(isinstance(value, str) and value for value in source.values()):
        raise MidiError(f'{path} must be an object with a "name" and a "licence"; mend it or remove it.')
    return source
