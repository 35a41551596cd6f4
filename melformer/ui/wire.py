"""What travels to the browser: PCM16 and codes as base64, and the numbers around them."""

import base64
from typing import Any

import numpy as np

from melformer.audio.io import to_integers


def pcm16(samples: np.ndarray) -> np.ndarray:
    """Float samples (n, n_channels) as little-endian int16, by the same rule as a 16-bit file of ours.

    A 16-bit source comes back bit for bit; what exceeds full scale is clipped, never wrapped.
    """
    return (to_integers(np.asarray(samples), 16) >> 16).astype("<i2")


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


def pack_beat(index: int, samples: np.ndarray, columns: np.ndarray, join: np.ndarray | None) -> dict[str, Any]:
    """One new beat: its index among the new ones, PCM16, codes, and with beat 0 the joined end of the prompt."""
    return {
        "beat": index,
        "pcm": text(pcm16(samples)),
        "codes": pack_codes(columns),
        "join": None if join is None else text(pcm16(join)),
    }
