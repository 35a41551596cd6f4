"""Where the sounds of a passage or of a whole corpus come from, for the index and the model card."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from melformer.corpus import samples, soundfont
from melformer.corpus.kits import one_shots
from melformer.corpus.material import OWN
from melformer.corpus.passage import Passage
from melformer.errors import RequestError


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


def corpus_sources(folders: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Every source heard in some built corpora: name, licence, and hours of the passages that use it.

    Each is what a model card's `Source` takes.

    Errors: RequestError where a folder has no `index.jsonl`.
    """
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for folder in folders:
        index = Path(folder) / "index.jsonl"
        if not index.exists():
            raise RequestError(f"{folder} has no index.jsonl: build it with `melformer corpus build`")
        for line in index.read_text(encoding="utf-8").splitlines():
            passage = json.loads(line)
            for source in passage["sources"]:
                seconds[source["name"], source["licence"]] += passage["n_beats"] * 60.0 / passage["bpm"]
    return [{"name": name, "licence": own, "hours": total / 3600.0} for (name, own), total in sorted(seconds.items())]
