"""All styles by name."""

from melformer.corpus import styles_beats, styles_club
from melformer.corpus.styles import Style

STYLES: dict[str, Style] = {s.name: s for s in (*styles_club.STYLES, *styles_beats.STYLES)}
