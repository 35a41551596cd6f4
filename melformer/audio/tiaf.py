"""`.tiaf`: audio whose unit of time is the beat, in a file (docs/reference/tiaf.md)."""

import base64
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from melformer.audio.beats import EDGE_SAMPLES, SAMPLES_PER_BEAT, Tiaf
from melformer.audio.io import new_sound, open_sound
from melformer.audio.sniff import open_regular
from melformer.audio.waveform import MAX_VALUES
from melformer.errors import MelformerError, TiafError
from melformer.files import atomic_path

__all__ = ["SAMPLES_PER_BEAT", "Tiaf", "read_tiaf", "write_tiaf"]

NOMINAL_RATE = 40_000  # Hz: a player shows one beat per second
VERSION = 1
_LEVELS = 2**23  # of 24-bit samples
_HEADER_BYTES = 2**16
_HEADER_TYPES: dict[str, type | tuple[type, ...]] = {
    "format": str, "version": int, "samples_per_beat": int, "n_beats": int, "bpm": (int, float),
    "grid_beats_per_beat": int, "sample_rate": int, "n_samples": int, "scale": (int, float),
    "edges": (str, type(None)),
}  # fmt: skip


def write_tiaf(path: str | Path, tiaf: Tiaf) -> None:
    """Write a `.tiaf` file, whole or not at all: a 24-bit FLAC of the beats with a JSON comment.

    Samples are divided by a power of two that brings the loudest under full scale, so nothing clips and a
    quiet signal keeps its bits; reading and writing again changes nothing.
    """
    loudest = max(float(np.abs(part).max()) for part in (tiaf.beats, tiaf.edges) if part is not None)
    scale = 2.0 ** np.clip(math.frexp(loudest)[1], -100, 100) if loudest else 1.0
    header = {
        "format": "tiaf",
        "version": VERSION,
        "samples_per_beat": SAMPLES_PER_BEAT,
        "n_beats": tiaf.n_beats,
        "bpm": tiaf.bpm,
        "grid_beats_per_beat": tiaf.grid_beats_per_beat,
        "sample_rate": tiaf.sample_rate,
        "n_samples": tiaf.n_samples,
        "scale": float(scale),
        "edges": None if tiaf.edges is None else _pack_edges(tiaf.edges, scale),
    }
    path, shape = Path(path), (NOMINAL_RATE, tiaf.n_channels, "PCM_24", "FLAC")
    with atomic_path(path) as temporary, new_sound(temporary, path, shape) as file:
        file.comment = json.dumps(header)
        for beat in tiaf.beats:
            file.write(_to_levels(beat, scale) << 8)


def read_tiaf(path: str | Path) -> Tiaf:
    """Read a `.tiaf` file. Errors: TiafError for anything that docs/reference/tiaf.md does not allow."""
    path = Path(path)
    with _named(path.name), open_regular(path) as raw:
        if raw.read(4) != b"fLaC":
            raise TiafError("it is not a .tiaf file: pack a WAV with `melformer tiaf pack IN.wav OUT.tiaf`")
        with open_sound(raw, path.name) as file:
            header = _read_header(file)
            beats = _read_beats(file, header["n_beats"], header["scale"])
        edges = None if header["edges"] is None else _unpack_edges(header["edges"], header["scale"], beats)
        source = {key: header[key] for key in ("bpm", "sample_rate", "n_samples", "grid_beats_per_beat")}
        return Tiaf(beats, edges=edges, **source)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Give every fault of a file the same class, and the file's name."""
    try:
        yield
    except MelformerError as error:
        raise TiafError(str(error) if name in str(error) else f"{name}: {error}") from None


def _read_header(file: soundfile.SoundFile) -> dict[str, Any]:
    if (file.format, file.subtype, file.samplerate) != ("FLAC", "PCM_24", NOMINAL_RATE):
        raise TiafError("it is an ordinary FLAC, not a .tiaf: pack it with `melformer tiaf pack`")
    text = file.comment
    try:
        if len(text) > _HEADER_BYTES:
            raise ValueError("too long")
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise TiafError("its comment holds no tiaf header: the file is damaged or no .tiaf") from None
    if not isinstance(header, dict) or header.get("format") != "tiaf":
        raise TiafError("its comment holds no tiaf header: the file is damaged or no .tiaf")
    if header.get("version") != VERSION:
        raise TiafError(f"it has version {header.get('version')!r}, this reader knows {VERSION}: update melformer")
    for key, kind in _HEADER_TYPES.items():
        if not isinstance(header.get(key, ...), kind) or isinstance(header[key], bool):
            raise TiafError(f"its header has no valid {key!r}")
    return _check_header(header, file)


def _check_header(header: dict[str, Any], file: soundfile.SoundFile) -> dict[str, Any]:
    n_beats, scale = header["n_beats"], header["scale"]
    if header["samples_per_beat"] != SAMPLES_PER_BEAT:
        raise TiafError(f"it has {header['samples_per_beat']} samples per beat, not {SAMPLES_PER_BEAT:,}")
    if not (2.0**-100 <= scale <= 2.0**100 and math.frexp(scale)[0] == 0.5):
        raise TiafError("its scale is no power of two between 2^-100 and 2^100")
    if not 1 <= n_beats <= MAX_VALUES // SAMPLES_PER_BEAT // file.channels:
        raise TiafError(f"its header claims {n_beats:,} beats")
    if file.frames != n_beats * SAMPLES_PER_BEAT:
        raise TiafError(f"it holds {file.frames:,} samples, not {n_beats:,} beats of {SAMPLES_PER_BEAT:,}")
    return header


def _read_beats(file: soundfile.SoundFile, n_beats: int, scale: float) -> np.ndarray:
    """The beats, one at a time: a header that claims more than there is costs no memory."""
    beats = np.empty((n_beats, SAMPLES_PER_BEAT, file.channels), np.float32)
    for index in range(n_beats):
        levels = file.read(SAMPLES_PER_BEAT, dtype="int32", always_2d=True)
        if len(levels) != SAMPLES_PER_BEAT:
            raise TiafError(f"it ends in beat {index} of {n_beats}: the file is cut off")
        beats[index] = (levels >> 8) * (scale / _LEVELS)
    return beats


def _to_levels(samples: np.ndarray, scale: float) -> np.ndarray:
    levels = np.rint(samples * (_LEVELS / scale))
    return np.clip(levels, -_LEVELS, _LEVELS - 1).astype(np.int32)


def _pack_edges(edges: np.ndarray, scale: float) -> str:
    """Little-endian 24-bit levels in base64, in the order of the array."""
    levels = _to_levels(edges, scale).astype("<i4").reshape(-1, 1)
    return base64.b64encode(levels.view(np.uint8)[:, :3].tobytes()).decode()


def _unpack_edges(text: str, scale: float, beats: np.ndarray) -> np.ndarray:
    shape = (2, EDGE_SAMPLES, beats.shape[2])
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(-1, 3)
        levels = np.pad(data, ((0, 0), (1, 0))).view("<i4").reshape(shape) >> 8
    except ValueError:
        raise TiafError("its edges are no base64 of 24-bit samples") from None
    return (levels * (scale / _LEVELS)).astype(np.float32)
