"""Drums, bass and the rest: the stems of a loop, and the network that separates them."""

from melformer.stems.stems import STEMS, Stems

__all__ = ["STEMS", "Stems"]
