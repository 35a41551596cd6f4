"""Write a corpus: FLAC mixes and one JSON line each; or give passages without end, in memory."""

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from melformer.corpus import samples
from melformer.corpus.compose import compose
from melformer.corpus.kits import one_shots
from melformer.corpus.mix import render
from melformer.corpus.passage import Passage
from melformer.corpus.style_table import STYLES
from melformer.errors import RequestError

OWN = {"name": "Melformer's own synthesis", "licence": "CC0-1.0"}


def passage_seed(seed: int, index: int) -> int:
    """The seed of a corpus' n-th passage: any 63 bits, the same on every machine."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def choose_style(seed: int, styles: tuple[str, ...]) -> str:
    """The style of a passage, from those allowed."""
    return styles[seed % len(styles)]


def allowed_styles(styles: list[str] | None, exclude: list[str] | None) -> tuple[str, ...]:
    """Names to draw from. Errors: RequestError for an unknown name or when none is left."""
    for name in (*(styles or ()), *(exclude or ())):
        if name not in STYLES:
            raise RequestError(f"unknown style {name!r}: choose from {', '.join(STYLES)}")
    left = tuple(n for n in (styles or STYLES) if n not in (exclude or ()))
    if not left:
        raise RequestError("no style is left after excluding")
    return left


def sources(passage: Passage) -> list[dict[str, Any]]:
    """What a passage is made of, with licences."""
    used = sorted({name for part in passage.parts for name in one_shots(part.params.get("kit", {}))})
    return [OWN] + ([{**samples.SOURCE, "files": used}] if used else [])


def describe(passage: Passage, file: str, sample_rate: int) -> dict[str, Any]:
    """The JSON line of a passage."""
    whole = asdict(passage)
    parts = [{k: p[k] for k in ("name", "instrument", "params", "gain_db", "pan")} for p in whole["parts"]]
    events = {
        p.name: [[e.start_beats, e.duration_beats, e.sound or e.pitch, e.velocity] for e in p.events] for p in passage.parts
    }
    head = {"file": file, "bpm": passage.bpm, "beats_per_bar": passage.beats_per_bar, "n_beats": passage.n_beats}
    rest = {k: whole[k] for k in ("style", "seed", "metre", "key", "mode", "chords", "form", "loop", "master")}
    return {**head, **rest, "sample_rate": sample_rate, "sources": sources(passage), "parts": parts, "events": events}


def _make(job: tuple[int, str, float, str, int]) -> dict[str, Any]:
    seed, style, long, folder, sample_rate = job
    passage = compose(seed, style, long=long)
    name = f"{style.replace(' ', '_')}_{seed:016x}_{passage.bpm:g}bpm.flac"
    waveform = render(passage, sample_rate).samples
    temporary = Path(folder) / f".{name}"
    soundfile.write(temporary, waveform, sample_rate, subtype="PCM_16", format="FLAC")
    temporary.replace(Path(folder) / name)
    return describe(passage, name, sample_rate)


def _jobs(folder: str, hours: float, seed: int, styles: tuple[str, ...], long: float, sample_rate: int) -> Iterator[tuple]:
    left, index = hours * 3600.0, 0
    while left > 0:
        own = passage_seed(seed, index)
        style = choose_style(own, styles)
        left -= compose(own, style, long=long).duration_s
        index += 1
        yield own, style, long, folder, sample_rate


def build(
    out_dir: str | Path, hours: float, seed: int, workers: int = 1, *, styles: list[str] | None = None,
    exclude: list[str] | None = None, long: float = 0.6, sample_rate: int = 44_100,
) -> int:  # fmt: skip
    """Write `hours` of passages into a folder and return how many; the bytes do not depend on `workers`.

    `styles` keeps to some styles and `exclude` leaves some out. Each line of `index.jsonl` is written once its FLAC
    is whole. Errors: RequestError for an unknown style or hours out of range.
    """
    if not 0 < hours <= 100_000:
        raise RequestError(f"hours is {hours:g}; it must be more than 0 and at most 100,000")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(str(folder), hours, seed, allowed_styles(styles, exclude), long, sample_rate)
    count = 0
    with (folder / "index.jsonl").open("w") as index:
        for line in _run(jobs, workers):
            index.write(json.dumps(line, separators=(",", ":")) + "\n")
            index.flush()
            count += 1
    return count


def _run(jobs: Iterator[tuple], workers: int) -> Iterator[dict[str, Any]]:
    if workers <= 1:
        yield from map(_make, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_make, jobs, chunksize=1)
