"""How fast a loop is, where beats, bars and its end are, and how it fits the beat grid."""

from melformer.audio.tempo.find import Tempo, find_tempo, fit_loop

__all__ = ["Tempo", "find_tempo", "fit_loop"]
