"""A take: a loop, a seed, and the beats that were made after it."""

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import Waveform
from melformer.ui.takes.loops import PromptLoop
from melformer.ui.takes.tape import Tape
from melformer.ui.wire import beat_sources, code_columns, pack_beat

MAX_ANSWER_BYTES = 2**20
"""Of samples in one answer: beyond it a page asks again."""
JOIN_S = 0.03  # a whole take says where its loop ends; so much before it was joined


@dataclass(frozen=True)
class Take:
    """The first `n_beats` new beats of `tape` and `codes`, which only ever grow and may be shared by takes.

    `codes`: one uint16 (n_columns, n_codebooks) a beat. `state`: the file that resumes the stream after the last beat
    (some MB each, too many for memory); where it is None, the seed makes the same beats again. `closed`: its last bar
    leads back to the loop's first. `begun_with`: the settings of its first beat, where they were changed while it
    played. `sources`: for each beat where it came from (`wire.beat_sources`), None where nobody knows. `edited`: parts
    of it were drawn anew, so that its seed does not make it again.
    """

    number: int
    loop: PromptLoop
    seed: int
    config: Any
    tape: Tape
    codes: list[np.ndarray]
    n_beats: int = 0
    join: np.ndarray | None = None
    state: Path | None = None
    closed: bool = False
    begun_with: Any = None
    sources: list[Any] = field(default_factory=list)
    name: str = ""
    favourite: bool = False
    edited: bool = False

    @property
    def n_unlike(self) -> int | None:
        """New beats in which a stem plays something from elsewhere in the loop, or transposed; None where nobody knows
        what they play."""
        sources, n = self.sources[: self.n_beats], self.loop.prompt.n_beats
        if None in sources or len(sources) < self.n_beats:
            return None
        return sum(
            any(part["from"] not in (None, k % n) or part["shift"] or part["moved"] for part in chain(*beat.values()))
            for k, beat in enumerate(sources)
        )

    @property
    def state_path(self) -> Path:
        """Where the state after the last beat belongs: takes that share a tape differ in length."""
        return self.tape.path.with_suffix(f".{self.n_beats}.state")

    @property
    def n_new_samples(self) -> int:
        edges = self.loop.edges(self.n_beats)
        return int(edges[-1] - edges[self.loop.prompt.n_beats])

    def beat(self, index: int) -> np.ndarray:
        """Samples (n, n_channels) of new beat `index`."""
        edges = self.loop.edges(index + 1)
        start = int(edges[self.loop.prompt.n_beats])
        return self.tape.read(int(edges[-2]) - start, int(edges[-1]) - start)

    def packed(self, first: int, last: int) -> list[dict[str, Any]]:
        """Beats [first, last) once more, for a page that missed some: as many as fit into an answer."""
        packed: list[dict[str, Any]] = []
        n_bytes = 0
        for k in range(max(0, first), min(last, self.n_beats)):
            samples = self.beat(k)
            n_bytes += samples.nbytes // 2
            if packed and n_bytes > MAX_ANSWER_BYTES:
                break
            packed.append(pack_beat(k, samples, self.codes[k], self.join if k == 0 else None, self.sources[k]))
        return packed

    def new(self) -> Waveform:
        """Only the new beats."""
        return self.tape.waveform(0, self.n_new_samples)

    def whole(self) -> Waveform:
        """The loop, its joined end, and the new beats."""
        prompt = self.loop.prompt.waveform
        if self.n_beats == 0:
            return prompt
        join = np.zeros((0, prompt.n_channels), np.float32) if self.join is None else self.join
        kept = prompt.samples[: prompt.n_samples - len(join)]
        return Waveform(np.concatenate([kept, join, self.new().samples]), prompt.sample_rate)

    def before_new(self, n_samples: int) -> np.ndarray:
        """The `n_samples` that are heard just before the first new beat."""
        prompt = self.loop.prompt.waveform
        join = np.zeros((0, prompt.n_channels), np.float32) if self.join is None else self.join
        return np.concatenate([prompt.samples[: prompt.n_samples - len(join)], join])[-n_samples:]


def whole_take(number: int, loop: PromptLoop, continuation: Any, tape_path: Path) -> Take:
    """A finished `Continuation` as a take, its new part on a tape of its own."""
    new = continuation.new
    tape = Tape(tape_path, new.n_channels, new.sample_rate)
    tape.append(new.samples)
    return Take(
        number=number,
        loop=loop,
        seed=continuation.seed,
        config=continuation.config,
        tape=tape,
        codes=list(np.array_split(code_columns(continuation.codes), continuation.n_beats)),
        n_beats=continuation.n_beats,
        join=joined_end(continuation),
        closed=continuation.ending is not None,
        sources=[beat_sources(beat) for beat in continuation.beats],
    )


def joined_end(continuation: Any) -> np.ndarray:
    """The prompt's last 30 ms as they lead into a `Continuation`'s new part."""
    end, rate = continuation.prompt.waveform.n_samples, continuation.new.sample_rate
    return np.array(continuation.waveform.samples[max(0, end - round(JOIN_S * rate)) : end])
