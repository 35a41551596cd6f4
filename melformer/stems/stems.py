"""The stems of a loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from melformer.audio.io import Waveform
from melformer.errors import AudioError

STEMS = ("drums", "bass", "other")


@dataclass(frozen=True, eq=False)
class Stems:
    """Drums, bass and other of one loop: three waveforms of one rate, length and number of channels.

    A stem that is not in the loop is silent (all zeros).
    Errors: AudioError when rates, lengths or channels differ.
    """

    drums: Waveform
    bass: Waveform
    other: Waveform

    def __post_init__(self) -> None:
        shapes = {(w.samples.shape, w.sample_rate) for w in self}
        if len(shapes) > 1:
            facts = "; ".join(
                f"{name}: {w.n_samples:,} samples, {w.n_channels} channel(s), {w.sample_rate:,} Hz"
                for name, w in zip(STEMS, self)
            )
            raise AudioError(f"The stems differ in length, channels or rate ({facts}); export them all alike.")

    def __iter__(self) -> Iterator[Waveform]:
        return iter((self.drums, self.bass, self.other))

    def __getitem__(self, name: str) -> Waveform:
        if name not in STEMS:
            raise KeyError(f"{name!r} is no stem; stems are {', '.join(STEMS)}")
        return getattr(self, name)

    @classmethod
    def from_mapping(cls, waveforms: Mapping[str, Waveform]) -> "Stems":
        """Stems of which some may be missing: those are silent. Errors: AudioError, also for an unknown name."""
        unknown = sorted(set(waveforms) - set(STEMS))
        if unknown or not waveforms:
            given = unknown[0] if unknown else "none"
            raise AudioError(f"A stem is one of {', '.join(STEMS)}; got {given}.")
        one = next(iter(waveforms.values()))
        silence = Waveform(np.zeros_like(one.samples), one.sample_rate)
        return cls(*(waveforms.get(name, silence) for name in STEMS))

    @property
    def present(self) -> tuple[str, ...]:
        """The stems that sound."""
        return tuple(name for name, waveform in zip(STEMS, self) if waveform.samples.any())

    def mix(self) -> Waveform:
        """The sum of the stems."""
        return Waveform(self.drums.samples + self.bass.samples + self.other.samples, self.drums.sample_rate)
