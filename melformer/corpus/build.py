"""Write a corpus: FLAC mixes and one JSON line each; or give passages without end, in memory."""

import json
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import Waveform, write_waveform
from melformer.corpus.composition.compose import compose
from melformer.corpus.mixing.mixdown import render, render_stems
from melformer.corpus.passage import Passage
from melformer.corpus.sound_sources import passage_sources
from melformer.corpus.styles.table import STYLES, find_style
from melformer.errors import RequestError
from melformer.files import only_writer


@dataclass(frozen=True)
class Job:
    """One passage of a corpus, all that a worker needs to know."""

    folder: str
    seed: int
    style: str
    long: float
    sample_rate: int
    stems: bool
    few: bool


def build(
    out_dir: str | Path, hours: float, seed: int, workers: int = 1, *, styles: Sequence[str] | None = None,
    exclude: Sequence[str] = (), long: float = 0.6, sample_rate: int = 44_100, stems: bool = False,
    few: bool = False,
) -> int:  # fmt: skip
    """Write at least `hours` of passages into a folder and return how many; the bytes do not depend on `workers`.

    `styles` keeps to some styles, `exclude` holds some out; `long` is the chance of a passage of 16 to 128 beats over
    a short loop; `stems` adds a folder of stems beside each mix, which add up to it; `few` lets few players play in
    each. A line of `index.jsonl` is written once its FLAC is whole.
    Errors: RequestError for an unknown style, hours that are not positive, fewer than one worker, or a folder that
    another process is writing.
    """
    if not 0 < hours <= 100_000 or workers < 1:
        raise RequestError(f"hours must be above 0 and workers at least 1, got {hours} and {workers}")
    folder = Path(out_dir)
    jobs = _jobs(str(folder), hours, seed, allowed_styles(styles, exclude), long, sample_rate, stems, few)
    count = 0
    with only_writer(folder), (folder / "index.jsonl").open("w") as index:
        for line in _run(jobs, workers):
            index.write(line + "\n")
            index.flush()
            count += 1
    return count


def iterate(
    seed: int, *, styles: Sequence[str] | None = None, exclude: Sequence[str] = (), long: float = 0.6,
    sample_rate: int = 44_100, start: int = 0, step: int = 1, kinds: frozenset[str] | None = None,
) -> Iterator[tuple[Passage, Waveform]]:  # fmt: skip
    """Passages without end, never the same twice: numbers `start`, `start + step`, … (a rank and the world's size).

    `kinds` of material to use besides synthesis; None takes what is installed.
    Errors: RequestError for an unknown style.
    """
    names = allowed_styles(styles, exclude)
    index = start
    while True:
        passage = nth_passage(seed, index, names, long, kinds)
        yield passage, render(passage, sample_rate)
        index += step


def passage_seed(seed: int, index: int) -> int:
    """The seed of a corpus' n-th passage: any 63 bits, the same on every machine."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def nth_passage(
    seed: int, index: int, names: tuple[str, ...], long: float, kinds: frozenset[str] | None = None
) -> Passage:
    """Compose the n-th passage of a corpus from the styles named, of the `kinds` of material (see `compose`)."""
    own = passage_seed(seed, index)
    return compose(own, names[own % len(names)], long=long, kinds=kinds)


def allowed_styles(styles: Sequence[str] | None, exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Names to draw from; those of `HELD_OUT` only where `styles` names them.

    Errors: RequestError for an unknown name or when none is left.
    """
    for name in (*(styles or ()), *exclude):
        find_style(name)
    left = tuple(n for n in (styles or STYLES) if n not in exclude)
    if not left:
        raise RequestError("no style is left: exclude fewer")
    return left


def describe(passage: Passage, file: str, sample_rate: int) -> dict[str, Any]:
    """The JSON line of a passage: every setting and event, enough to compose it again or to learn from."""
    whole = passage.to_json()
    parts = [{k: v for k, v in part.items() if k != "events"} for part in whole.pop("parts")]
    events = {
        part.name: [[e.start_beats, e.duration_beats, e.sound or e.pitch, e.velocity] for e in part.events]
        for part in passage.parts
    }
    head = {"file": file, **{name: whole.pop(name) for name in ("bpm", "beats_per_bar", "n_beats")}}
    tail = {"sample_rate": sample_rate, "sources": passage_sources(passage), "parts": parts, "events": events}
    return {**head, **whole, **tail}


def _jobs(
    folder: str, hours: float, seed: int, names: tuple[str, ...], long: float, sample_rate: int, stems: bool, few: bool
) -> Iterator[Job]:
    """Jobs until the hours are full: composing is cheap, so the count is known without rendering."""
    left, index = hours * 3600.0, 0
    while left > 0:
        passage = nth_passage(seed, index, names, long)
        yield Job(folder, passage.seed, passage.style, long, sample_rate, stems, few)
        left -= passage.duration_s
        index += 1


def _make(job: Job) -> str:
    """Render and write one passage; its JSON line."""
    passage = compose(job.seed, job.style, long=job.long, few=job.few)
    stem = f"{job.style.replace(' ', '_')}{'_few' * job.few}_{job.seed:016x}_{passage.bpm:g}bpm"
    folder = Path(job.folder)
    if job.stems:
        mix, parts = render_stems(passage, job.sample_rate)
        for name, part in parts.items():
            write_waveform(folder / stem / f"{name}.flac", part, bpm=passage.bpm)
    else:
        mix = render(passage, job.sample_rate)
    write_waveform(folder / f"{stem}.flac", mix, bpm=passage.bpm)
    return json.dumps(describe(passage, f"{stem}.flac", job.sample_rate), separators=(",", ":"))


def _run(jobs: Iterator[Job], workers: int) -> Iterator[str]:
    """The lines in the order of the jobs, at most a few jobs ahead of the slowest.

    Workers are spawned, since forking a process with threads can hang, and they live for the whole build: fonts and
    tables load once. (A `multiprocessing.Pool` would restart a worker that cannot start for ever; this raises.)
    """
    if workers == 1:
        yield from map(_make, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = deque(pool.submit(_make, job) for job in islice(jobs, 3 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(_make, job) for job in islice(jobs, 1))
