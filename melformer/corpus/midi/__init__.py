"""MIDI files as material: read, cut into passages, and dressed with the engine's sounds."""

from melformer.corpus.midi.folder import MidiFolder
from melformer.corpus.midi.score import Score, read_score

__all__ = ["MidiFolder", "Score", "read_score"]
