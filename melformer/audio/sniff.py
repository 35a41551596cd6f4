"""Which files are let in: decided from their first bytes, before any decoder sees them."""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from melformer.errors import AudioError

FORMATS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG", "AIFF"}
SUBTYPES = {
    "PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW",
    "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III",
}  # fmt: skip
MAX_CHUNKS = 1_000
MAX_FLAC_BLOCKS = 1_000
_WAV_CODECS = {1: "PCM", 3: "float", 6: "A-law", 7: "µ-law", 0xFFFE: "extensible"}
_EXTENSIBLE = 0xFFFE
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
    elif head[:4] == b"fLaC":
        for n_blocks, _ in enumerate(flac_blocks(file)):
            if n_blocks >= MAX_FLAC_BLOCKS:
                raise AudioError(f"{name} has more than {MAX_FLAC_BLOCKS:,} blocks before its sound: export it again")
    elif not (mp3 or head[:4] in (b"fLaC", b"OggS")):
        raise AudioError(f"{name} isn't a supported audio file: use WAV, AIFF, FLAC, MP3, OGG or Opus")


def flac_blocks(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Type, start and length of each metadata block of a FLAC file."""
    position, last = 4, False
    while not last:
        file.seek(position)
        header = file.read(4)
        if len(header) < 4:
            return
        last, kind, length = bool(header[0] & 0x80), header[0] & 0x7F, int.from_bytes(header[1:4], "big")
        yield kind, position + 4, length
        position += 4 + length


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
    """Refuse compressed WAV and AIFF (ADPCM and others): their decoders are old and have known holes.

    A file that tells no format, or has 1,000 chunks, is refused too: a decoder might look further than we do.
    """
    file.seek(0)
    kind = file.read(4)
    big_endian, found = kind in (b"RIFX", b"FORM"), False
    order: Literal["big", "little"] = "big" if big_endian else "little"
    for n_chunks, (chunk, start, length) in enumerate(chunks(file), 1):
        if n_chunks == MAX_CHUNKS:
            raise AudioError(f"{name} is damaged ({MAX_CHUNKS:,} chunks or more): export it again as WAV or FLAC")
        file.seek(start)
        if chunk == b"fmt ":
            data = file.read(min(length, 26))
            codec = int.from_bytes(data[:2], order)
            if codec == _EXTENSIBLE and len(data) == 26:
                codec = int.from_bytes(data[24:], order)  # the codec itself stands at the head of a GUID
            if len(data) >= 2 and codec not in _WAV_CODECS:
                raise AudioError(f"{name} is a WAV with codec {codec:#06x}: export it as plain PCM WAV")
            found = True
        elif chunk == b"COMM":
            found = True
            codec_name = file.read(22)[18:]
            if length >= 22 and codec_name not in _AIFC_CODECS:
                raise AudioError(f"{name} is a compressed AIFF ({codec_name!r}): export it as WAV")
    if not found:
        raise AudioError(
            f"{name} is damaged (no {'COMM' if kind == b'FORM' else 'fmt'} chunk tells its format): "
            "export it again as WAV or FLAC"
        )
