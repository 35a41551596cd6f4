"""A musician's folder of loops: its tempi found, the doubtful ones put before the musician in a small table."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from melformer.audio.grid import check_bpm, fit_to_grid
from melformer.audio.io import AUDIO_SUFFIXES, audio_files, read_waveform
from melformer.audio.tempo import find_tempo
from melformer.audio.waveform import Waveform
from melformer.errors import MelformerError, RequestError, TempoError
from melformer.files import atomic_path

SURE, SURE_START = 0.85, 0.6
"""From here on a tempo, and where the first beat is, count as certain (docs/explanation/tempo.md)."""


@dataclass(frozen=True)
class OwnLoop:
    """A line of the table: a file of the folder, what is believed of it, and what there is to check ("" if nothing)."""

    file: str
    bpm: float
    source: str
    confidence: float
    start_s: float = 0.0
    beats_per_bar: int = 4
    check: str = ""


COLUMNS = tuple(field.name for field in fields(OwnLoop))


def survey(folder: Path) -> tuple[list[OwnLoop], list[str]]:
    """Every loop of a folder with its tempo, and what was left out and why.

    Errors: RequestError when the folder holds no audio at all.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder; give one that holds your loops.")
    paths = audio_files(folder, deep=True)
    if not paths:
        raise RequestError(f"{folder} holds no loops; put {', '.join(AUDIO_SUFFIXES)} files there.")
    loops, left_out = [], []
    for path in paths:
        try:
            loops.append(_find(folder, path))
        except MelformerError as error:
            left_out.append(f"{path.relative_to(folder)}: {error}")
    return loops, left_out


def _find(folder: Path, path: Path) -> OwnLoop:
    tempo = find_tempo(read_waveform(path), path=path)
    if tempo.is_one_shot:
        raise TempoError("it is a single hit, not a loop")
    doubts = [] if tempo.confidence >= SURE else ["bpm"]
    doubts += [] if tempo.start_confidence >= SURE_START else ["start_s"]
    return OwnLoop(
        path.relative_to(folder).as_posix(), tempo.bpm, tempo.source, round(tempo.confidence, 2),
        round(tempo.start_s, 4), tempo.bar, check=" and ".join(doubts),
    )  # fmt: skip


def write_table(path: Path, loops: Sequence[OwnLoop]) -> None:
    """Write the table, what is to be checked first, so that a spreadsheet or an editor shows it at once."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(loop) for loop in sorted(loops, key=lambda loop: (not loop.check, loop.file)))


def read_table(path: Path, folder: Path) -> list[OwnLoop]:
    """The table as the musician left it; giving it confirms it, so nothing is left to check. A removed line is a loop
    that is not wanted. Commas or semicolons may separate, as spreadsheets like it.

    Errors: RequestError, naming the line, for a missing column or file or a number out of range.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read as a table: {error}") from error
    head = text.split("\n", 1)[0]
    semicolons = head.count(";") > head.count(",")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if semicolons else ","))
    if not rows or not {"file", "bpm"} <= rows[0].keys():
        raise RequestError(f"{path} needs a line of names, {','.join(COLUMNS)}, and a line for each loop below it.")
    loops = []
    for number, row in enumerate(rows, 2):
        try:
            loops.append(_loop_of(row, folder))
        except MelformerError as error:
            raise RequestError(f"{path}, line {number}: {error}") from error
    names = [loop.file for loop in loops]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise RequestError(f"{path} lists {twice} twice; leave one of the lines.")
    return loops


def _loop_of(row: dict[str, str | None], folder: Path) -> OwnLoop:
    file = (row.get("file") or "").strip()
    if not file or not (folder / file).is_file():
        raise RequestError(f"there is no {file or 'file name'} in {folder}; remove the line, or correct it")
    bpm, start_s = check_bpm(_number(row, "bpm", None)), _number(row, "start_s", 0.0)
    beats_per_bar = _number(row, "beats_per_bar", 4.0)
    if not 0 <= start_s < 600 or beats_per_bar not in range(1, 17):
        raise RequestError(f"start_s is {start_s:g} and beats_per_bar {beats_per_bar:g}; 0 to 600 s and 1 to 16 can be")
    return OwnLoop(file, bpm, "table", 1.0, start_s, int(beats_per_bar))


def _number(row: dict[str, str | None], name: str, default: float | None) -> float:
    text = (row.get(name) or "").strip().replace(",", ".")
    if not text and default is not None:
        return default
    try:
        return float(text)
    except ValueError:
        raise RequestError(f"{name} is {text!r}; it must be a number") from None


def doubtful(loops: Sequence[OwnLoop]) -> list[OwnLoop]:
    """Those that a person should look at."""
    return [loop for loop in loops if loop.check]


def confirmed(loops: Sequence[OwnLoop]) -> list[OwnLoop]:
    """The same, with nothing left to check."""
    return [replace(loop, check="") for loop in loops]


def sound_of(loop: OwnLoop, folder: Path) -> Waveform:
    """A loop's whole beats from its first one on. Errors: AudioError, TempoError."""
    return fit_to_grid(read_waveform(folder / loop.file), loop.bpm, loop.start_s).waveform
