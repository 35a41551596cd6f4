"""Where the sounds of a passage come from, for the index and the model card."""

from typing import Any

from melformer.corpus import samples, soundfont
from melformer.corpus.kits import one_shots
from melformer.corpus.material import OWN
from melformer.corpus.passage import Passage


def passage_sources(passage: Passage) -> list[dict[str, Any]]:
    """What a passage is made of, with licences: synthesis, one-shots by name, the soundfont."""
    kits = [part.params.get("kit", {}) for part in passage.parts]
    used = sorted({name for kit in kits for name in one_shots(kit)})
    fonts = any(part.instrument == "gm" for part in passage.parts)
    fonts = fonts or any("preset" in drum for kit in kits for drum in kit.values())
    font = soundfont.font()
    found: list[dict[str, Any]] = [dict(OWN)]
    if used:
        found.append({**samples.SOURCE, "files": used})
    if fonts and font:
        found.append(dict(font[1]))
    return found
