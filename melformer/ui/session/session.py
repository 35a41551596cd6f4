"""What one visitor has: a loop, its takes, what can be undone, and what runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from melformer.errors import RequestError
from melformer.ui.host.limits import Limits
from melformer.ui.session.composing import Composing, Host, has_stems
from melformer.ui.session.requests import whole_number
from melformer.ui.session.runs import Runs
from melformer.ui.session.scheduler import Scheduler
from melformer.ui.session.stem_jobs import WAIT_S, PcmStems, StemJobs
from melformer.ui.session.view import view_loop, view_of
from melformer.ui.takes.loops import (
    PromptLoop,
    bpm_of_bars,
    crop_loop,
    loop_of_take,
    open_loop,
    open_stems,
    retime_loop,
    snap_bpm,
)
from melformer.ui.takes.take import Take
from melformer.ui.takes.take_store import TakeStore
from melformer.ui.wire import write_pcm16

MAX_NAME = 60


class Session:
    """Everything that belongs to one visitor; safe to call from several threads, and knows nothing of Gradio.

    `folder` holds the session's files and is removed with it.
    """

    def __init__(
        self, host: Host, limits: Limits, folder: Path, paced: bool = True, stem_jobs: StemJobs | None = None
    ) -> None:
        self.host = host
        self.limits = limits
        self.store = TakeStore(folder, limits.kept_takes, host.separated)
        self.composing = Composing(host, self.store)
        self.stem_jobs = stem_jobs or StemJobs()
        self.runs = Runs(self, paced)
        self._n_calls = 0

    @property
    def model(self) -> Any:
        return self.host.model

    @property
    def scheduler(self) -> Scheduler:
        return self.host.scheduler

    @property
    def folder(self) -> Path:
        return self.store.folder

    @property
    def loop(self) -> PromptLoop | None:
        return self.store.loop

    @property
    def takes(self) -> dict[int, Take]:
        return self.store.takes

    @property
    def is_busy(self) -> bool:
        """Whether a stream plays or a call is being answered."""
        return self.runs.is_running or self._n_calls > 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A call is being answered: meanwhile the session is not forgotten."""
        with self.store.lock:
            self._n_calls += 1
        try:
            yield
        finally:
            with self.store.lock:
                self._n_calls -= 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be lost with it."""
        return self.loop is None and not self.takes

    def load(
        self, path: Path, beats_per_bar: int | None = None, bpm: float | None = None, start_s: float | None = None
    ) -> dict[str, Any]:
        """Take a file as the loop; earlier takes stay in the list. Errors: AudioError, TempoError, RequestError."""
        self.check_disk()
        return self.open(open_loop(self.model, path, self.limits, beats_per_bar, bpm, start_s))

    def load_stems(self, paths: dict[str, Path], name: str, beats_per_bar: int | None = None) -> dict[str, Any]:
        """Take several files, a stem each, as the loop. Errors: as `load`."""
        self.check_disk()
        return self.open(open_stems(self.model, paths, " ".join(name.split())[:MAX_NAME], self.limits, beats_per_bar))

    def retime(
        self, bpm: float, beats_per_bar: int, shift_s: float = 0.0, n_bars: int | None = None, tapped: bool = False
    ) -> dict[str, Any]:
        """Put the loop on another grid: at a tempo (a `tapped` one snaps to the loop's length), `shift_s` later, or
        at the tempo that makes it `n_bars` long."""
        loop = self.need_loop()
        if n_bars is not None:
            bpm = bpm_of_bars(loop, n_bars, beats_per_bar)
        elif tapped:
            seconds = loop.raw.duration_s - loop.start_s
            bpm = snap_bpm(bpm, seconds, beats_per_bar, self.limits.prompt_beats)
        self.check_disk()
        return self.open(retime_loop(self.model, loop, bpm, beats_per_bar, self.limits, shift_s))

    def crop(self, first: int, last: int) -> dict[str, Any]:
        loop = self.need_loop()
        self.check_disk()
        return self.open(crop_loop(self.model, loop, first, last))

    def use_take(self, number: int) -> dict[str, Any]:
        """Make a take the loop that is continued from now on."""
        take = self.need_take(number)
        self.check_disk()
        return self.open(loop_of_take(self.model, take.loop, take.whole(), take.number, self.limits))

    def remove_take(self, number: int) -> dict[str, Any]:
        self.need_take(number)
        self.store.remove(number)
        return self.view()

    def name_take(self, number: int, name: str) -> dict[str, Any]:
        self.store.change(replace(self.need_take(number), name=" ".join(name.split())[:MAX_NAME]))
        return self.view()

    def mark_take(self, number: int, favourite: bool) -> dict[str, Any]:
        """A favourite is the last to go when there are too many takes."""
        self.store.change(replace(self.need_take(number), favourite=favourite))
        return self.view()

    def redo_part(self, number: int, first: int, end: int, stems: list[str] | None, seed: int) -> dict[str, Any]:
        """A new take: another with new beats [first, end) composed anew, all stems of them or those named.

        Errors: RequestError.
        """
        take = self.need_take(number)
        if not has_stems(take):
            raise RequestError("This take is too long to redo a part of it. Continue from it instead.")
        self.check_disk()
        self.runs.settle()
        store = self.store
        with store.lock:
            number, path = store.next_number(), store.next_tape()
        made = self.composing.redone(take, number, path, (first, end), stems, seed)
        with store.lock:
            store.remember()
            store.keep(made)
        return {"take": made.number, "view": self.view()}

    def undo(self) -> dict[str, Any]:
        """Go back to the loop and the takes before the last change. Errors: RequestError when there is none."""
        self.runs.stop()
        self.store.undo()
        return self.view()

    def redo(self) -> dict[str, Any]:
        """Take back the last undo. Errors: RequestError when there is none."""
        self.runs.stop()
        self.store.redo()
        return self.view()

    def reopen(self, key: str) -> dict[str, Any]:
        """Go back to the loop of an earlier take."""
        self.runs.stop()
        self.store.reopen(key)
        return self.view()

    def stems(self, data: dict[str, Any]) -> dict[str, Any]:
        """The stems of the loop, or of a take's new beats from `first` on; `pending` while they are in the making."""
        found = self.stems_of(data.get("take"), str(data["key"]) if "key" in data else None)
        if found is False:
            return {"pending": True}
        if not isinstance(found, PcmStems):
            return {"present": []}
        if data.get("take") is None:
            return found.packed(self.folder)
        loop = self.need_take(data["take"]).loop
        first = loop.prompt.n_beats + whole_number(data.get("first", 0), "A beat", 0, 1_000_000)
        edges = loop.edges(max(0, first - loop.prompt.n_beats))
        return found.part(int(edges[first])).packed(self.folder)

    def stems_of(self, number: Any, key: str | None = None, wait_s: float = WAIT_S) -> "PcmStems | bool | None":
        """Of a take (None: of the loop, the current one or that with this key): the stems, None where there are none,
        False while they are in the making."""
        if number is None:
            loop = self.need_loop() if key is None else self._loop_of(key)
            return self.stem_jobs.wait(loop.key, lambda: self.composing.loop_stems(loop), wait_s)
        take = self.need_take(whole_number(number, "The take", 1, 1_000_000))
        if not has_stems(take):
            return None
        name = f"{take.loop.key} {take.tape.path.name} {take.n_beats}"
        return self.stem_jobs.wait(name, lambda: self.composing.take_stems(take), wait_s)

    def need_take(self, number: int) -> Take:
        take = self.takes.get(number)
        if take is None:
            raise RequestError(f"Take {number} is gone.")
        self.host.use(take.loop)
        return take

    def loop_view(self, key: str) -> dict[str, Any]:
        """The loop, or an earlier one that a take was made from, with the file of its samples."""
        loop = self._loop_of(key)
        return view_loop(loop, self.store.pcm_path(loop))

    def _loop_of(self, key: str) -> PromptLoop:
        loops = [self.loop, *(take.loop for take in self.takes.values())]
        for loop in loops:
            if loop is not None and loop.key == key:
                return loop
        raise RequestError("That loop is gone. Open it again.")

    def view(self) -> dict[str, Any]:
        with self.store.lock:
            store = self.store
            return view_of(self.loop, self.takes.values(), store.can_undo, store.can_redo, self.runs.is_running)

    def need_loop(self) -> PromptLoop:
        if self.loop is None:
            raise RequestError("Choose a loop first: drop in a file, or try one of the examples.")
        self.host.use(self.loop)
        return self.loop

    def open(self, loop: PromptLoop) -> dict[str, Any]:
        """Take a loop that is ready, such as an example's: its samples go to disk, and another file has them as a
        browser plays them."""
        self.runs.stop()
        with self.store.lock:  # nothing is swept away before it is needed
            loop = self.host.spool.keep(loop, self.folder)
            write_pcm16(self.store.pcm_path(loop), loop.prompt.waveform.samples)
            self.store.put(loop)
        return self.view()

    def check_disk(self) -> None:
        """Errors: RequestError where this visitor's files, or all together, leave no room."""
        self.store.check_room(self.limits.session_mb)
        self.host.check_room()
