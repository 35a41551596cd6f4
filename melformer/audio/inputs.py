"""What a caller may give as audio: a file's name, a `Waveform`, samples with their rate, or an open file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from melformer.audio.io import read_waveform
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError

AudioInput = str | os.PathLike[str] | Waveform | tuple[np.ndarray, int] | BinaryIO
MAX_BYTES = 2**30
"""Largest open file that is read: 10 minutes of 8 channels fit into half of it."""
_BLOCK = 2**20
_MAX_NAME = 100


@contextmanager
def open_audio(audio: AudioInput) -> Iterator[tuple[Waveform, Path | None]]:
    """The sound, and the file that holds it, whose name and tags may tell its tempo (None where there is none).

    An open file is read from where it stands, and copied into a temporary file of its own name.
    Errors: AudioError for anything else, with what may be given, and those of `read_waveform` and `Waveform`.
    """
    if isinstance(audio, Waveform):
        yield audio, None
    elif isinstance(audio, tuple):
        yield _from_pair(audio), None
    elif isinstance(audio, (str, os.PathLike)):
        path = Path(audio)
        yield read_waveform(path), path
    elif callable(getattr(audio, "read", None)):
        with tempfile.TemporaryDirectory(prefix="melformer-") as folder:
            path = _copy(audio, Path(folder))
            yield read_waveform(path), path
    else:
        raise AudioError(
            f"{_kind(audio)} is no audio: give a path, a Waveform, (samples, sample_rate), or an open file"
        )


def _kind(audio: Any) -> str:
    if hasattr(audio, "shape"):
        return "an array without its sample rate"
    return {bytes: "bytes without io.BytesIO(…) around them", type(None): "None"}.get(type(audio), repr(audio)[:60])


def _from_pair(pair: tuple[Any, ...]) -> Waveform:
    if len(pair) != 2:
        raise AudioError(f"a tuple of {len(pair)} is no audio: give (samples, sample_rate)")
    samples, rate = pair
    if np.ndim(samples) == 0:
        raise AudioError(f"the pair begins with {samples!r}: the samples come first, then their rate")
    return Waveform(np.asarray(samples), rate)


def _copy(file: Any, folder: Path) -> Path:
    """Write what is left of an open file into `folder`, under its own name where it has a usable one."""
    name = getattr(file, "name", None)
    name = Path(name).name if isinstance(name, str) and "\0" not in name else ""
    path, n_bytes = folder / (name[-_MAX_NAME:] or "audio"), 0
    with open(path, "wb") as copy:
        while block := file.read(_BLOCK):
            if not isinstance(block, bytes | bytearray | memoryview):
                raise AudioError(f"the file gives {type(block).__name__} instead of bytes: open it with 'rb'")
            n_bytes += len(block)
            if n_bytes > MAX_BYTES:
                raise AudioError(f"the file has more than {MAX_BYTES // 2**20:,} MB: cut out the loop first")
            copy.write(block)
    return path
