"""How fast a loop is, and where its first beat lies."""

from melformer.audio.grid import GridFit, beat_edges, check_bpm, fit_to_grid

__all__ = ["GridFit", "beat_edges", "check_bpm", "fit_to_grid"]
