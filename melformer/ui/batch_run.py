"""One run that generates several takes at once; it can be stopped between two beats."""

import threading
from typing import Any

from melformer.ui.loops import PromptLoop
from melformer.ui.requests import GenerationRequest


class _Stopped(Exception):
    """Raised inside the model's loop over beats to leave it."""


class BatchRun:
    """Takes of one loop, one for each seed. `stop` may be called from another thread at any time."""

    def __init__(self, model: Any, loop: PromptLoop, request: GenerationRequest, seeds: list[int]) -> None:
        self.model, self.loop, self.request, self.seeds = model, loop, request, seeds
        self.reason = ""
        self.finished = threading.Event()
        self.made: list[Any] = []
        self.best: int | None = None

    def stop(self, reason: str = "stopped") -> None:
        self.reason = self.reason or reason

    def make(self) -> None:
        """Generate them all; `made` stays empty when it was stopped."""
        request = self.request
        try:
            made = self.model.takes(
                self.loop.prompt,
                request.n_beats,
                seeds=self.seeds,
                settings=request.settings,
                close_loop=request.close_loop,
                progress=self._check,
            )
        except _Stopped:
            return
        self.best = self.model.ranked(made)[0].seed
        self.made = made

    def _check(self, beat: Any) -> None:
        if self.reason:
            raise _Stopped
