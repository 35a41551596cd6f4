"""What one visitor keeps: the loop, its takes, and the way back to what they were before the last changes."""

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from melformer.errors import RequestError
from melformer.ui.takes.loops import PromptLoop
from melformer.ui.takes.spool import PREFIX, SUFFIX, files_of
from melformer.ui.takes.take import Take, whole_take

UNDO_STEPS = 8


class FoundStems:
    """The stems that loops were separated into, by loop: shared by all who play it, kept as long as one does.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[PromptLoop, Any] = WeakKeyDictionary()

    def of(self, loop: PromptLoop) -> Any:
        """The loop's stems: its player's own, or those that were found; None before."""
        return self._found.get(loop) if loop.prompt.stems is None else loop.prompt.stems

    def put(self, loop: PromptLoop, stems: Any) -> None:
        self._found[loop] = stems


class TakeStore:
    """Takes by number, at most `kept_takes` of them; their sound and their states are files in `folder`.

    Safe to use from several threads; `lock` holds several changes together.
    """

    def __init__(self, folder: Path, kept_takes: int, separated: FoundStems) -> None:
        self.folder = folder
        self.kept_takes = kept_takes
        self.separated = separated
        self.loop: PromptLoop | None = None
        self.takes: dict[int, Take] = {}
        self.lock = threading.RLock()
        self._past: list[tuple[PromptLoop | None, dict[int, Take]]] = []
        self._undone: list[tuple[PromptLoop | None, dict[int, Take]]] = []
        self._n_takes = 0
        self._n_tapes = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def put(self, loop: PromptLoop) -> None:
        with self.lock:
            if self.loop is None or loop.key != self.loop.key:  # the same example again is no step to undo
                self.remember()
            self.loop = loop
            self.sweep()

    def reopen(self, key: str) -> None:
        """Make the loop of a take the current one again; looking around is no step to undo. Errors: RequestError."""
        with self.lock:
            for loop in (take.loop for take in self.takes.values()):
                if loop.key == key:
                    self.loop = loop
                    return
        raise RequestError("That loop is gone. Open it again.")

    def remember(self) -> None:
        """`undo` leads back to how things are now; before the first loop there is nothing to go back to."""
        with self.lock:
            self._undone = []
            if self.loop is not None:
                self._past = [*self._past, (self.loop, dict(self.takes))][-UNDO_STEPS:]

    def undo(self) -> None:
        """Go back to the loop and the takes before the last change. Errors: RequestError when there is none."""
        with self.lock:
            if not self._past:
                raise RequestError("There is nothing to undo.")
            self._undone.append((self.loop, dict(self.takes)))
            self.loop, self.takes = self._past.pop()

    def redo(self) -> None:
        """Take back the last `undo`. Errors: RequestError when there was none, or something has changed since."""
        with self.lock:
            if not self._undone:
                raise RequestError("There is nothing to redo.")
            self._past.append((self.loop, dict(self.takes)))
            self.loop, self.takes = self._undone.pop()

    def keep(self, take: Take) -> None:
        with self.lock:
            old = self.takes.get(take.number)
            if old is not None:  # it may have been named while it played
                take = replace(take, name=old.name, favourite=old.favourite)
            self.takes = {**self.takes, take.number: take}
            while len(self.takes) > self.kept_takes:
                plain = [key for key in sorted(self.takes) if not self.takes[key].favourite and key != take.number]
                self.takes.pop((plain or sorted(self.takes))[0])

    def change(self, take: Take) -> None:
        """Keep a take under another name or mark; no step to undo."""
        with self.lock:
            self.takes = {**self.takes, take.number: take}

    def keep_whole(self, loop: PromptLoop, made: list[Any]) -> list[int]:
        """Keep finished continuations; gives the numbers of their takes."""
        with self.lock:
            self.remember()
            takes = [whole_take(self.next_number(), loop, one, self.next_tape()) for one in made]
            for take in takes:
                self.keep(take)
            self.sweep()
        return [take.number for take in takes]

    def remove(self, number: int) -> None:
        with self.lock:
            self.remember()
            self.takes = {key: take for key, take in self.takes.items() if key != number}

    def drop_all(self) -> None:
        """Forget the loop, all takes and the way back; files that were saved stay."""
        with self.lock:
            self.loop, self.takes, self._past, self._undone = None, {}, [], []
            self.sweep()

    def sweep(self) -> None:
        """Remove the tapes, states and loops that no take, and no step back, needs any more."""
        with self.lock:
            past = [*self._past, *self._undone, (self.loop, self.takes)]
            kept = [take for _, takes in past for take in takes.values()]
            loops = {loop for loop, _ in past if loop is not None} | {take.loop for take in kept}
            needed: set[Path | None] = {path for take in kept for path in (take.tape.path, take.state)}
            for loop in loops:
                needed |= files_of((loop, self.separated.of(loop))) | {self.pcm_path(loop)}
            for pattern in ("tape*.f32", "tape*.state", "*.pcm16", f"{PREFIX}*{SUFFIX}"):
                for path in self.folder.glob(pattern):
                    if path not in needed:
                        with suppress(OSError):
                            path.unlink(missing_ok=True)

    def pcm_path(self, loop: PromptLoop) -> Path:
        """Where the loop lies as a browser plays it."""
        return self.folder / f"{loop.key}.pcm16"

    def used_mb(self) -> float:
        """Disk that all files of the visitor fill, MB."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()) / 1e6

    def check_room(self, limit_mb: float) -> None:
        """Errors: RequestError."""
        used_mb = self.used_mb()
        if used_mb > limit_mb:
            raise RequestError(
                f"Your takes fill {used_mb:.0f} MB; the limit is {limit_mb:g} MB. "
                "Save what you like as a ZIP, then delete takes."
            )

    def next_number(self) -> int:
        self._n_takes += 1
        return self._n_takes

    def next_tape(self) -> Path:
        self._n_tapes += 1
        return self.folder / f"tape{self._n_tapes}.f32"
