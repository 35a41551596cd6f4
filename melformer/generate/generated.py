"""A finished continuation."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from melformer.audio.io import Waveform, exact_encoding, write_waveform
from melformer.generate.generation_config import GenerationConfig
from melformer.generate.planning.bridge import Bridge
from melformer.generate.planning.plan_options import Choices
from melformer.generate.prompt import Prompt
from melformer.generate.state import StreamState, capture
from melformer.generate.stream import Beat, BeatStream
from melformer.stems.stems import STEMS, Stems
from melformer.stems.units import UnitChoice


@dataclass(frozen=True, eq=False)
class Continuation:
    """A finished continuation.

    `waveform` is prompt, join and new part; `new` the new part, `stems` its stems, which add up to it; `sources` the
    choices of every half model beat, each of drums, bass and other; `state` goes on from its end
    (`Melformer.resume`); `nats` is what half a beat cost the pointer; `ending` tells how a closed loop was closed.
    """

    prompt: Prompt
    waveform: Waveform
    new: Waveform
    stems: Stems
    sources: list[Choices]
    seed: int
    config: GenerationConfig
    n_beats: int
    compute_s: float
    nats: float
    state: StreamState = field(repr=False)
    ending: Bridge | None = None
    beats: list[Beat] = field(default_factory=list, repr=False)

    @cached_property
    def codes(self) -> np.ndarray:
        """The codec's codes of the new part: those of its beats, one after the other."""
        return np.concatenate([beat.codes for beat in self.beats])

    def save(self, path: str | Path, *, only_new: bool = False, replace: bool = True) -> Path:
        """Write it as `.wav` or `.flac`, the prompt's samples bit for bit and the BPM in the file; the path.

        `only_new` leaves the prompt out. Errors: AudioError for another suffix, OSError on a full disk; FileExistsError
        without `replace` for a name that is taken.
        """
        path = Path(path)
        encoding = exact_encoding(self.prompt.waveform.samples, path.suffix.lower())
        part = self.new if only_new else self.waveform
        write_waveform(path, part, bpm=self.prompt.bpm, encoding=encoding, replace=replace)
        return path

    def facts(self) -> list[dict[str, dict[str, int | None]]]:
        """Where every half model beat comes from, ready for JSON: for each stem the half beat of the prompt, counted
        from 0 (None: silent), and its transposition in semitones; where drums are cut, the quarter of a beat that is
        their second half."""
        return [{name: _fact(choice) for name, choice in zip(STEMS, unit)} for unit in self.sources]


def _fact(choice: UnitChoice) -> dict[str, int | None]:
    fact = {"source": None if choice.silent else choice.source, "semitones": choice.shift}
    return fact if choice.second is None else {**fact, "second_half": choice.second}


def assemble(stream: BeatStream, beats: list[Beat]) -> Continuation:
    """All beats of a stream that has come to its end, and the prompt before them."""
    prompt, rate = stream.prompt, stream.prompt.waveform.sample_rate
    assert stream.join is not None
    kept = prompt.waveform.samples[: prompt.waveform.n_samples - len(stream.join)]
    sounds = np.concatenate([beat.stems for beat in beats], axis=1)
    new = Waveform(np.concatenate([beat.waveform.samples for beat in beats]), rate)
    stems = Stems(*(Waveform(np.ascontiguousarray(sound), rate) for sound in sounds))
    whole = Waveform(np.concatenate([kept, stream.join, new.samples]), rate)
    sources = [choices for beat in beats for choices in beat.sources]
    seconds = sum(beat.compute_s for beat in beats)
    return Continuation(
        prompt, whole, new, stems, sources, stream.seed, stream.config, len(beats), seconds,
        sum(stream.line_nats) / max(1, len(stream.choices)), capture(stream), stream.ending, beats,
    )  # fmt: skip
