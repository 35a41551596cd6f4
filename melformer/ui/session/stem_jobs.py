"""The stems of loops and takes, separated in the background and kept for a while: nothing waits for them."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from melformer.audio.io import Waveform
from melformer.errors import MelformerError
from melformer.ui.host.memory import return_freed_memory
from melformer.ui.host.work import PageStopped
from melformer.ui.wire import pcm16

logger = logging.getLogger(__name__)
KEPT = 12
KEPT_BYTES = 2**27
"""Of the samples of all stems that are kept."""
MAX_PENDING = 4
"""So many wait to be separated; the next one is asked to come back, as while it is in the making."""
MAX_WAITERS = 6
"""So many requests wait in their threads; the others are answered at once that it is in the making."""
FILES, KEPT_FILES = "stems-", 4
WAIT_S = 4.0
"""A page that asks is answered within this time, if only that it should ask again."""
NAP_S = 0.05
INT16 = 32_768


@dataclass(frozen=True, eq=False)
class PcmStems:
    """Drums and bass as int16 (n, n_channels), None where absent; `other` is what is left of the mix, so that in
    integers all three add up to it exactly. It may exceed 16 bits."""

    mix: np.ndarray
    drums: np.ndarray | None
    bass: np.ndarray | None
    present: tuple[str, ...]

    @classmethod
    def of(cls, mix: Waveform, stems: Any, present: tuple[str, ...]) -> "PcmStems":
        """Of float stems by name, those that are `present`."""
        drums, bass = (pcm16(stems[name].samples) if name in present else None for name in ("drums", "bass"))
        return cls(pcm16(mix.samples), drums, bass, tuple(present))

    @property
    def other(self) -> np.ndarray:
        """int32 (n, n_channels)."""
        left = self.mix.astype(np.int32)
        for stem in (self.drums, self.bass):
            if stem is not None:
                left = left - stem
        return left

    def stem(self, name: str) -> np.ndarray:
        """int32 (n, n_channels); silence for one that is absent."""
        if name == "other":
            return self.other
        stem = {"drums": self.drums, "bass": self.bass}[name]
        return np.zeros(self.mix.shape, np.int32) if stem is None else stem.astype(np.int32)

    def part(self, start: int, stop: int | None = None) -> "PcmStems":
        """Samples [start, stop)."""
        cut = [None if one is None else one[start:stop] for one in (self.mix, self.drums, self.bass)]
        assert cut[0] is not None
        return PcmStems(cut[0], cut[1], cut[2], self.present)

    @property
    def n_bytes(self) -> int:
        return sum(one.nbytes for one in (self.mix, self.drums, self.bass) if one is not None)

    def packed(self, folder: Path) -> dict[str, Any]:
        """As the page reads it: samples are files in `folder`, since they are too many for an answer."""
        left = sorted(folder.glob(f"{FILES}*"), key=lambda path: path.stat().st_mtime)
        for path in left[: -2 * KEPT_FILES]:
            path.unlink(missing_ok=True)
        parts = {"drums": self.drums, "bass": self.bass}
        written = {name: None if part is None else _written(part, folder) for name, part in parts.items()}
        return {"present": list(self.present), **written}


def _written(samples: np.ndarray, folder: Path) -> str:
    path = folder / f"{FILES}{uuid4().hex}.pcm"
    np.ascontiguousarray(samples, dtype="<i2").tofile(path)
    return str(path)


class StemJobs:
    """Separates one waveform at a time, in a thread of its own. Safe to use from several threads."""

    def __init__(self, make_way: Callable[[], None] = lambda: None) -> None:
        """`make_way` is called before each: it waits for what is more urgent."""
        self._make_way = make_way
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="stems")
        self._jobs: OrderedDict[str, Future[PcmStems | None]] = OrderedDict()
        self._lock = threading.Lock()
        self._waiters = threading.BoundedSemaphore(MAX_WAITERS)

    def prepare(self, todo: Callable[[], Any]) -> "Future[Any]":
        """Do what a stream needs before its first beat, when its turn among the stems has come. Errors: PageStopped."""
        try:
            return self._pool.submit(self._work, todo)
        except RuntimeError:  # there is no pool any more
            raise PageStopped from None

    def start(self, key: str, make: Callable[[], PcmStems]) -> "Future[PcmStems | None] | None":
        """Begin to `make` the stems, or go on with what was begun under this key; None when too many wait."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                if sum(not one.done() for one in self._jobs.values()) >= MAX_PENDING:
                    return None
                job = self._jobs[key] = self.prepare(lambda: _made(make))
            self._jobs.move_to_end(key)
            while len(self._jobs) > 1 and (len(self._jobs) > KEPT or self._kept_bytes() > KEPT_BYTES):
                _, old = self._jobs.popitem(last=False)
                old.cancel()
        return job

    def _kept_bytes(self) -> int:
        done = [job.result() for job in self._jobs.values() if job.done() and not job.cancelled()]
        return sum(stems.n_bytes for stems in done if stems is not None)

    def wait(self, key: str, make: Callable[[], PcmStems], wait_s: float = WAIT_S) -> "PcmStems | bool | None":
        """The stems; None where the model has none for this; False while they are in the making, or wait for it.

        `make` is called when its turn has come: what waits takes no memory.
        """
        job = self.start(key, make)
        may_wait = self._waiters.acquire(blocking=False)
        try:
            return False if job is None else job.result(wait_s if may_wait else 0.0)
        except (FutureTimeout, TimeoutError, CancelledError):
            return False
        finally:
            if may_wait:
                self._waiters.release()

    def _work(self, todo: Callable[[], Any]) -> Any:
        self._make_way()
        try:
            return todo()
        finally:
            return_freed_memory()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Preparation:
    """What a stream needs before its first beat: done among the stems, and begun when it is first asked for."""

    def __init__(self, jobs: StemJobs, todo: Callable[[], Any] | None) -> None:
        """`todo` is None where nothing is needed."""
        self._jobs, self._todo = jobs, todo
        self._job: Future[Any] | None = None

    def is_done(self) -> bool:
        """Whether it is; it is begun otherwise."""
        if self._todo is None:
            return True
        if self._job is None:
            self._job = self._jobs.prepare(self._todo)
        return self._job.done()

    def wait(self, is_stopped: Callable[[], bool]) -> None:
        """Until it is done, or stopped. Errors: PageStopped, and those of what was to be done."""
        while not self.is_done() and not is_stopped():
            assert self._job is not None
            wait([self._job], NAP_S)
        if self._job is not None and self._job.done():
            if self._job.cancelled():
                raise PageStopped
            self._job.result()

    def cancel(self) -> None:
        """Unless it has begun, it is not done."""
        if self._job is not None:
            self._job.cancel()


def _made(make: Callable[[], PcmStems]) -> PcmStems | None:
    try:
        return make()
    except MelformerError:  # a checkpoint without a separator, or nothing to separate
        return None
    except FileNotFoundError:  # the session was forgotten meanwhile
        return None
    except Exception:
        logger.exception("Stems could not be separated")
        return None
