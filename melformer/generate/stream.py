"""A continuation beat by beat, endless if wanted."""

from collections.abc import Iterator

import numpy as np

from melformer.generate.sampling import GenerationConfig
from melformer.generate.state import StreamState, capture
from melformer.generate.take_batch import Beat, TakeStreams


class BeatStream(Iterator[Beat]):
    """An iterator of `Beat`; `settings` may be replaced between two beats.

    `join` (n, channels) is there once beat 0 is: it replaces the prompt's last 30 ms.
    """

    def __init__(self, takes: TakeStreams, settings: GenerationConfig, n_beats: int | None, seed: int) -> None:
        self.takes, self.settings, self.n_beats, self.seed = takes, settings, n_beats, seed
        self.prompt = takes.prompt

    @property
    def index(self) -> int:
        """The number of the beat that comes next."""
        return self.takes.index

    @property
    def join(self) -> np.ndarray | None:
        """The prompt's last 30 ms, leading over into the first new beat: float32 (n, channels)."""
        return self.takes.joins[0] if self.takes.joins else None

    def __next__(self) -> Beat:
        if self.n_beats is not None and self.index >= self.n_beats:
            raise StopIteration
        return self.takes.next_beats(self.settings)[0]

    def state(self) -> StreamState:
        """All that is needed to go on later, bit for bit; a copy that the stream no longer touches."""
        return capture(self.takes, self.settings, self.seed)
