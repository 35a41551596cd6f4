"""The composition engine: licence-clean music with exact tempo and every event known.

>>> from melformer.corpus import compose
>>> passage = compose(7, style="house", n_beats=16)
>>> passage.n_beats, passage.style
(16, 'house')
"""

from melformer.corpus.build import build, iterate
from melformer.corpus.composition.compose import compose
from melformer.corpus.mixing.mixdown import render, render_stems
from melformer.corpus.passage import Passage
from melformer.corpus.styles.table import STYLES

__all__ = ["STYLES", "Passage", "build", "compose", "iterate", "render", "render_stems"]
