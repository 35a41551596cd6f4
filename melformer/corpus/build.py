"""Write a corpus: FLAC mixes and one JSON line each; or give passages without end, in memory."""

import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import Waveform, write_waveform
from melformer.corpus.composition.compose import compose
from melformer.corpus.midi import MidiFolder
from melformer.corpus.mixing.mixdown import render, render_stems
from melformer.corpus.notes import notes_to_json, passage_notes
from melformer.corpus.passage import Passage
from melformer.corpus.shards import Shard, merge_shards
from melformer.corpus.sound_sources import passage_sources
from melformer.corpus.styles.table import STYLES, find_style
from melformer.errors import RequestError


@dataclass(frozen=True)
class Job:
    """One passage of a corpus and how to write it, all that a worker needs to know."""

    folder: str
    file: str
    passage: Passage
    sample_rate: int
    stems: bool


def build(
    out_dir: str | Path, hours: float, seed: int, workers: int = 1, *, styles: Sequence[str] | None = None,
    exclude: Sequence[str] = (), long: float = 0.6, sample_rate: int = 44_100, stems: bool = False,
    few: bool = False, midi: str | Path | None = None, shard: Shard | None = None,
) -> int:  # fmt: skip
    """Write at least `hours` of passages into a folder and return how many; the bytes do not depend on `workers`.

    `styles` keeps to some styles, `exclude` holds some out; `long` is the chance of a passage of 16 to 128 beats over
    a short loop; `stems` adds a folder of stems beside each mix; `few` lets few players play in each. With `midi`, a
    folder of MIDI files or one, the passages are made of these instead of composed. A line of `index.jsonl` is written
    once its FLAC is whole. With a `shard` every N-th passage is written, and the index when all N shards are there.
    Errors: RequestError for an unknown style, hours that are not positive, fewer than one worker, or a folder that
    another process is writing; MidiError where no MIDI file can be used.
    """
    if not 0 < hours <= 100_000 or workers < 1:
        raise RequestError(f"hours must be above 0 and workers at least 1, got {hours} and {workers}")
    if midi is not None and (styles or exclude or few):
        raise RequestError("MIDI files have no styles and their own players: leave styles, exclude and few out")
    folder, shard = Path(out_dir), shard or Shard(1, 1)
    nth = _passages(seed, None, midi, allowed_styles(styles, exclude), long, few)
    jobs = shard.share(_jobs(folder, hours, nth, sample_rate, stems, few))
    first = list(islice(jobs, 1))  # what is wrong with the request shows before anything is written
    n_written = 0
    with shard.writing(folder) as index:
        for line in _run(chain(first, jobs), workers):
            index.write(line + "\n")
            index.flush()
            n_written += 1
    merge_shards(folder)
    return n_written


def iterate(
    seed: int, *, styles: Sequence[str] | None = None, exclude: Sequence[str] = (), long: float = 0.6,
    sample_rate: int = 44_100, start: int = 0, step: int = 1, kinds: frozenset[str] | None = None,
    midi: str | Path | None = None,
) -> Iterator[tuple[Passage, Waveform]]:  # fmt: skip
    """Passages without end, never the same twice: numbers `start`, `start + step`, … (a rank and the world's size).

    `kinds` of material to use besides synthesis; None takes what is installed. With `midi` they are made of MIDI
    files, as in `build`. Errors: RequestError for an unknown style; MidiError where no MIDI file can be used.
    """
    nth = _passages(seed, kinds, midi, allowed_styles(styles, exclude), long, False)
    for index in count(start, step):
        passage = nth(index)
        yield passage, render(passage, sample_rate)


def _passages(
    seed: int, kinds: frozenset[str] | None, midi: str | Path | None, names: tuple[str, ...], long: float, few: bool
) -> Callable[[int], Passage]:
    """The n-th passage of a corpus, for every n."""
    if midi is None:
        return lambda index: nth_passage(seed, index, names, long, kinds, few)
    files = MidiFolder(midi, seed)
    return lambda index: files.passage(index, passage_seed(seed, index), kinds)


def passage_seed(seed: int, index: int) -> int:
    """The seed of a corpus' n-th passage: any 63 bits, the same on every machine."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def nth_passage(
    seed: int, index: int, names: tuple[str, ...], long: float, kinds: frozenset[str] | None = None, few: bool = False
) -> Passage:
    """Compose the n-th passage of a corpus from the styles named; `kinds` and `few` as in `compose`."""
    own = passage_seed(seed, index)
    return compose(own, names[own % len(names)], long=long, kinds=kinds, few=few)


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
    return {**head, **whole, **tail, "notes": notes_to_json(passage_notes(passage))}


def _jobs(
    folder: Path, hours: float, nth: Callable[[int], Passage], sample_rate: int, stems: bool, few: bool
) -> Iterator[Job]:
    """Jobs until the hours are full: composing is cheap, so the count is known without rendering."""
    left, index = hours * 3600.0, 0
    while left > 0:
        passage = nth(index)
        style = "".join(c if c.isalnum() or c in "-_" else "_" for c in passage.style)
        file = f"{style}{'_few' * few}_{passage.seed:016x}_{passage.bpm:g}bpm"
        yield Job(str(folder), file, passage, sample_rate, stems)
        left -= passage.duration_s
        index += 1


def _make(job: Job) -> str:
    """Render and write one passage; its JSON line."""
    passage, folder = job.passage, Path(job.folder)
    if job.stems:
        mix, stems = render_stems(passage, job.sample_rate)
        for name, stem in stems.items():
            write_waveform(folder / job.file / f"{name}.flac", stem, bpm=passage.bpm)
    else:
        mix = render(passage, job.sample_rate)
    write_waveform(folder / f"{job.file}.flac", mix, bpm=passage.bpm)
    return json.dumps(describe(passage, f"{job.file}.flac", job.sample_rate), separators=(",", ":"))


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
