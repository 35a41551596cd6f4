"""All styles by name."""

from melformer.corpus.styles import band, beat_maker, club, experimental, held_out, latin, listening
from melformer.corpus.styles.style import Style
from melformer.errors import RequestError

STYLES: dict[str, Style] = {
    style.name: style for group in (club, beat_maker, band, latin, listening, experimental) for style in group.STYLES
}
HELD_OUT: dict[str, Style] = {style.name: style for style in held_out.STYLES}
"""Drawn only where they are asked for by name."""


def find_style(name: str) -> Style:
    """A style of either table. Errors: RequestError for an unknown name."""
    known = STYLES | HELD_OUT
    if name not in known:
        raise RequestError(f"unknown style {name!r}: choose from {', '.join(known)}")
    return known[name]
