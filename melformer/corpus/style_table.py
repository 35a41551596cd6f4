"""All styles by name."""

from melformer.corpus import styles_band, styles_beats, styles_club, styles_more, styles_world
from melformer.corpus.styles import Style

STYLES: dict[str, Style] = {
    style.name: style for group in (styles_club, styles_beats, styles_band, styles_world, styles_more) for style in group.STYLES
}
