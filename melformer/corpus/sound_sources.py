"""What clean material is installed beside our own synthesis, and how to install the rest."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from melformer.corpus.passage import Passage
from melformer.corpus.synthesis import samples, soundfont
from melformer.corpus.synthesis.kits import one_shots

OWN = {"name": "Melformer's own synthesis", "licence": "CC0-1.0"}


@dataclass(frozen=True)
class Material:
    """One kind of material: whether it is there, where it comes from, how to get it."""

    kind: str
    found: str | None
    source: dict[str, str]
    install: str


def survey() -> list[Material]:
    """Every kind of material with what was found; `melformer corpus material` prints this."""
    names = samples.names()
    one_shots = f"{len(names)} one-shots in {samples.folder()}" if names else None
    font = soundfont.font()
    font_source = font[1] if font else {"name": soundfont.FONTS[0][1], "licence": soundfont.FONTS[0][2]}
    return [
        Material("synthesis", "always there", OWN, ""),
        Material("one-shots", one_shots, samples.SOURCE, "apt-get install sonic-pi-samples"),
        Material("soundfont", font[0] if font else None, font_source,
                 "apt-get install fluid-soundfont-gm && pip install --no-deps tinysoundfont"),
    ]  # fmt: skip


@lru_cache(maxsize=1)
def found() -> frozenset[str]:
    """The optional kinds that are installed: any of "one-shots" and "soundfont"."""
    return frozenset(m.kind for m in survey() if m.found and m.kind != "synthesis")


def passage_sources(passage: Passage) -> list[dict[str, Any]]:
    """What a passage is made of, with licences: synthesis, one-shots by name, soundfonts, another's music."""
    kits = [part.params.get("kit", {}) for part in passage.parts]
    used = sorted({name for kit in kits for name in one_shots(kit)})
    fonts = {part.params.get("font", "") for part in passage.parts if part.instrument == "gm"}
    fonts |= {drum.get("font", "") for kit in kits for drum in kit.values() if "preset" in drum}
    found: list[dict[str, Any]] = [dict(OWN)]
    if used:
        found.append({**samples.SOURCE, "files": used})
    if passage.source:
        found.append(dict(passage.source))
    for name in sorted(fonts):
        font = soundfont.fonts().get(name) if name else soundfont.font()
        if font and font[1] not in found:
            found.append(dict(font[1]))
    return found
