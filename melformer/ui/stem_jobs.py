"""The stems of loops and takes, separated in the background and kept for a while: nothing waits for them."""

import logging
import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

import numpy as np

from melformer.audio.io import Waveform
from melformer.errors import MelformerError
from melformer.ui.wire import pcm16, text

logger = logging.getLogger(__name__)
KEPT = 12
WAIT_S = 4.0
"""A page that asks is answered within this time, if only that it should ask again."""
INT16 = 32_768


@dataclass(frozen=True, eq=False)
class PcmStems:
    """Drums and bass as int16 (n, n_channels), None where absent; `other` is what is left of the mix, so that in
    integers all three add up to it exactly. It may exceed 16 bits."""

    mix: np.ndarray
    drums: np.ndarray | None
    bass: np.ndarray | None
    present: tuple[str, ...]

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

    def packed(self) -> dict[str, Any]:
        """As the page unpacks it."""
        return {
            "present": list(self.present),
            "drums": None if self.drums is None else text(self.drums),
            "bass": None if self.bass is None else text(self.bass),
        }


class StemJobs:
    """Separates one waveform at a time, in a thread of its own. Safe to use from several threads."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="stems")
        self._jobs: OrderedDict[str, Future[PcmStems | None]] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, key: str, loop: Any, bpm: float) -> "Future[PcmStems | None]":
        """Begin to separate a prompt or a waveform at `bpm`, or go on with what was begun under this key."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                job = self._jobs[key] = self._pool.submit(self._separate, loop, bpm)
            self._jobs.move_to_end(key)
            while len(self._jobs) > KEPT:
                _, old = self._jobs.popitem(last=False)
                old.cancel()
        return job

    def wait(self, key: str, loop: Any, bpm: float, wait_s: float = WAIT_S) -> "PcmStems | bool | None":
        """The stems; None where the model has none for this; False while they are in the making."""
        try:
            return self.start(key, loop, bpm).result(wait_s)
        except (FutureTimeout, TimeoutError, CancelledError):
            return False

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _separate(self, loop: Any, bpm: float) -> PcmStems | None:
        separate = getattr(self.model, "stems", None)
        if separate is None:
            return None
        try:
            stems = separate(loop, bpm=bpm)
        except MelformerError:  # a checkpoint without a separator, or nothing to separate
            return None
        except Exception:
            logger.exception("Stems could not be separated")
            return None
        present = tuple(stems.present)
        drums, bass = (pcm16(stems[name].samples) if name in present else None for name in ("drums", "bass"))
        mix = loop if isinstance(loop, Waveform) else loop.waveform
        return PcmStems(pcm16(mix.samples), drums, bass, present)
