"""What travels to the browser: PCM16 and codes as base64, and the numbers around them."""

import base64
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import to_integers
from melformer.files import atomic_path
from melformer.stems import STEMS

BLOCK = 65_536
Messages = Generator[dict[str, Any], None, None]
"""What a stream sends, a message at a time; closing it ends the stream."""


def pcm16(samples: np.ndarray) -> np.ndarray:
    """Float samples (n, n_channels) as little-endian int16, by the same rule as a 16-bit file of ours.

    A 16-bit source comes back bit for bit; what exceeds full scale is clipped, never wrapped.
    """
    samples = np.asarray(samples)
    out = np.empty(samples.shape, "<i2")
    for start in range(0, len(samples), BLOCK):  # what rounds them is four times as large as they are
        out[start : start + BLOCK] = to_integers(samples[start : start + BLOCK], 16) >> 16
    return out


def write_pcm16(path: Path, samples: np.ndarray) -> Path:
    """Samples as `pcm16` in a file, for what is too large to be an answer: a browser reads it as fast as it can."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pcm16(samples).tofile(file)
    return path


def text(array: np.ndarray) -> str:
    """The bytes of an array as base64 text."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def code_columns(codes: np.ndarray) -> np.ndarray:
    """Codes (model beats, frames, n_codebooks) as columns in time: uint16 (n_columns, n_codebooks)."""
    codes = np.asarray(codes)
    return codes.reshape(-1, codes.shape[-1]).astype("<u2")


def pack_codes(columns: np.ndarray) -> dict[str, Any]:
    """Columns (n_columns, n_codebooks) with their shape, as the browser unpacks them."""
    return {"data": text(columns), "columns": int(columns.shape[0]), "codebooks": int(columns.shape[1])}


def beat_sources(beat: Any) -> dict[str, list[dict[str, Any]]] | None:
    """Where a new beat came from: for each stem its parts in order of time; None where the model does not say.

    A part has its `share` of the beat, the beat that it was copied `from` (None: silent), the `shift` in semitones, and
    whether it was `moved` within the beat. What follows each other in one beat is one part; half beats are `UnitChoice`
    of drums, bass and other each, and drums may be cut in their middle.
    """
    units: Sequence[Sequence[Any]] | None = getattr(beat, "sources", None)
    if not units:
        return None
    n = 2 * len(units)
    sources: dict[str, list[dict[str, Any]]] = {name: [] for name in STEMS}
    for place, unit in enumerate(units):
        for name, choice in zip(STEMS, unit):
            for half, source in enumerate(choice.halves):
                moved = not choice.silent and (source - 2 * place - half) % n != 0
                origin = None if choice.silent else int(source // n)
                part = {"from": origin, "shift": int(choice.shift), "moved": bool(moved), "silent": bool(choice.silent)}
                parts = sources[name]
                if parts and {key: parts[-1][key] for key in part} == part:
                    parts[-1]["share"] = round(parts[-1]["share"] + 1 / n, 4)
                else:
                    parts.append({**part, "share": round(1 / n, 4)})
    return sources


def pack_stems(beat: Any) -> dict[str, str | None] | None:
    """Drums and bass of a beat; `other` is what they leave of the mix. None where the model tells no stems apart."""
    stems: np.ndarray | None = getattr(beat, "stems", None)
    if stems is None:
        return None
    parts = {name: pcm16(stem) for name, stem in zip(STEMS, stems) if name != "other"}
    return {name: text(part) if part.any() else None for name, part in parts.items()}


def pack_beat(
    index: int, samples: np.ndarray, columns: np.ndarray, join: np.ndarray | None, sources: Any = None
) -> dict[str, Any]:
    """One new beat: its index among the new ones, PCM16, codes, with beat 0 the joined end of the prompt, and where
    it came from."""
    return {
        "beat": index,
        "pcm": text(pcm16(samples)),
        "codes": pack_codes(columns),
        "join": None if join is None else text(pcm16(join)),
        "sources": sources,
    }
