"""The composition engine: licence-clean music with exact tempo and every event known.

>>> from melformer.corpus import compose
>>> passage = compose(7, style="house", n_beats=16)
>>> passage.n_beats, passage.style
(16, 'house')
"""

from melformer.corpus.build import build, iterate
from melformer.corpus.compose import compose
from melformer.corpus.mix import render, render_stems
from melformer.corpus.passage import Passage
from melformer.corpus.style_table import STYLES

__all__ = ["STYLES", "Passage", "build", "compose", "iterate", "render", "render_stems"]
