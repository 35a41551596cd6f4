"""All styles by name."""

from melformer.corpus import styles_band, styles_beats, styles_club, styles_held_out, styles_more, styles_world
from melformer.corpus.styles import Style
from melformer.errors import RequestError

STYLES: dict[str, Style] = {
    style.name: style for group in (styles_club, styles_beats, styles_band, styles_world, styles_more) for style in group.STYLES
}
HELD_OUT: dict[str, Style] = {style.name: style for style in styles_held_out.STYLES}
"""Drawn only where they are asked for by name."""


def find_style(name: str) -> Style:
    """A style of either table. Errors: RequestError for an unknown name."""
    known = STYLES | HELD_OUT
    if name not in known:
        raise RequestError(f"unknown style {name!r}: choose from {', '.join(known)}")
    return known[name]
