"""Which files are let in: decided from their first bytes, before any decoder sees them."""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from melformer.errors import AudioError

FORMATS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG", "AIFF"}
SUBTYPES = {
    "PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW",
    "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III",
}  # fmt: skip
MAX_CHUNKS = 1_000
_WAV_CODECS = {1: "PCM", 3: "float", 6: "A-law", 7: "µ-law", 0xFFFE: "extensible"}
_AIFC_CODECS = {b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64",
                b"ulaw", b"ULAW", b"alaw", b"ALAW"}  # fmt: skip


def open_regular(path: Path) -> BinaryIO:
    """Open an ordinary, non-empty file: a pipe or a device could block or never end. Errors: AudioError."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for its writer.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise AudioError(f"{path.name or path} cannot be opened: {reason(error)}") from None
    info = os.fstat(descriptor)
    if stat.S_ISREG(info.st_mode) and info.st_size:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise AudioError(
        f"{path.name or path} is empty" if stat.S_ISREG(info.st_mode) else f"{path.name or path} is not a file"
    )


def reason(error: Exception) -> str:
    """What a library or the system says went wrong, in a form that fits into a sentence."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").lower()


def check_kind(file: BinaryIO, name: str) -> None:
    """Refuse what is not wav, flac, ogg, mp3 or aiff by its first bytes. Errors: AudioError."""
    file.seek(0)
    head = file.read(16)
    if head[4:8] == b"ftyp":
        raise AudioError(
            f"{name} is an m4a (AAC) or mp4 file, which cannot be read here: "
            f"export it as WAV or FLAC, or convert it with `ffmpeg -i {name} loop.wav`"
        )
    mp3 = head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    if _is_chunked(head):
        _check_codec(file, name)
    elif not (mp3 or head[:4] in (b"fLaC", b"OggS")):
        raise AudioError(f"{name} isn't a supported audio file: use WAV, AIFF, FLAC, MP3, OGG or Opus")


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk of a RIFF (WAV) or IFF (AIFF) file; none for other files.

    Lengths are as claimed: a reader must expect less. At most 1,000 chunks are listed.
    """
    file.seek(0)
    head = file.read(12)
    if not _is_chunked(head):
        return
    header, position = struct.Struct("<4sI" if head[:4] in (b"RIFF", b"RF64", b"BW64") else ">4sI"), 12
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        data = file.read(8)
        if len(data) < 8:
            return
        name, length = header.unpack(data)
        yield name, position + 8, length
        position += 8 + length + length % 2


def _is_chunked(head: bytes) -> bool:
    riff = head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE"
    return riff or (head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"))


def _check_codec(file: BinaryIO, name: str) -> None:
    """Refuse compressed WAV and AIFF (ADPCM and others): their decoders are old and have known holes."""
    file.seek(0)
    big_endian = file.read(4) in (b"RIFX", b"FORM")
    for chunk, start, length in chunks(file):
        file.seek(start)
        if chunk == b"fmt ":
            data = file.read(2)
            codec = int.from_bytes(data, "big" if big_endian else "little")
            if len(data) == 2 and codec not in _WAV_CODECS:
                raise AudioError(f"{name} is a WAV with codec {codec:#06x}: export it as plain PCM WAV")
        elif chunk == b"COMM" and length >= 22:
            codec_name = file.read(22)[18:]
            if codec_name not in _AIFC_CODECS:
                raise AudioError(f"{name} is a compressed AIFF ({codec_name!r}): export it as WAV")
