"""The tempo in a file's metadata: read from every format that is let in, written to WAV and FLAC.

Each reader looks at a bounded part of the file and treats all it finds there as untrusted.
"""

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from melformer.audio.grid import MAX_BPM, MIN_BPM
from melformer.audio.sniff import chunks, open_regular

MAX_TAG_BYTES = 2**20
_OGG_HEAD_BYTES = 2**16
_ACID = struct.Struct("<IHHfIHHf")  # flags, root note, two unknown, beats, metre (lower, upper), tempo
_ACID_ONE_SHOT, _ACID_STRETCH = 1, 4


def read_bpm_tag(path: str | Path) -> float | None:
    """The BPM (40..240) in the file's metadata, or None, also for what is no audio file at all.

    Looks at the ACID chunk of a WAV, BPM and TEMPO comments of FLAC, Ogg Vorbis and Opus, and the TBPM frame
    of an ID3 tag in MP3, WAV and AIFF.
    """
    try:
        with open_regular(Path(path)) as file:
            for bpm in _candidates(file):
                if MIN_BPM <= bpm <= MAX_BPM:
                    return bpm
    except (OSError, ValueError, struct.error, IndexError):
        return None  # metadata are a courtesy: damaged ones are as good as none
    return None


def add_bpm_tag(path: str | Path, bpm: float, duration_s: float) -> None:
    """Write the BPM into a WAV (ACID chunk) or FLAC (BPM comment) that has none yet, in place."""
    with open(path, "r+b") as file:
        if file.read(4) == b"fLaC":
            _add_comment(file, f"BPM={bpm:.10g}")
        else:
            _append_acid(file, bpm, round(duration_s * bpm / 60))


def _candidates(file: BinaryIO) -> Iterator[float]:
    head = file.read(12)
    if head[:4] == b"fLaC":
        for kind, start, length in _flac_blocks(file):
            if kind == 4 and length <= MAX_TAG_BYTES:
                file.seek(start)
                yield from _comment_bpms(file.read(length))
    elif head[:4] == b"OggS":
        file.seek(0)
        yield from _ogg_bpms(file.read(_OGG_HEAD_BYTES))
    elif head[:3] == b"ID3":
        file.seek(0)
        yield from _id3_bpms(file.read(MAX_TAG_BYTES))
    else:
        for name, start, length in chunks(file):
            file.seek(start)
            if name == b"acid" and length >= _ACID.size:
                flags, *_, tempo = _ACID.unpack(file.read(_ACID.size))
                if not flags & _ACID_ONE_SHOT and math.isfinite(tempo):
                    yield round(tempo, 4)  # float32 holds 119.92 as 119.919998
            elif name.lower() == b"id3 ":
                yield from _id3_bpms(file.read(min(length, MAX_TAG_BYTES)))


def _flac_blocks(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Type, start and length of each metadata block."""
    position, last = 4, False
    while not last:
        file.seek(position)
        header = file.read(4)
        last, kind, length = bool(header[0] & 0x80), header[0] & 0x7F, int.from_bytes(header[1:4], "big")
        yield kind, position + 4, length
        position += 4 + length


def _comment_bpms(block: bytes) -> Iterator[float]:
    """BPM entries of a Vorbis comment block: vendor, count, then length and KEY=value of each entry."""
    position = 4 + int.from_bytes(block[:4], "little")
    n_entries = int.from_bytes(block[position : position + 4], "little")
    position += 4
    for _ in range(n_entries):
        if position + 4 > len(block):
            return
        length = int.from_bytes(block[position : position + 4], "little")
        key, _, value = block[position + 4 : position + 4 + length].partition(b"=")
        if key.upper() in (b"BPM", b"TEMPO", b"TBPM"):
            yield from _number(value.decode("utf-8", "replace"))
        position += 4 + length


def _ogg_bpms(head: bytes) -> Iterator[float]:
    """The comment packet is the second of the stream; its pages are joined without their headers."""
    packets, position = b"", 0
    while head[position : position + 4] == b"OggS" and position + 27 < len(head):
        table = head[position + 27 : position + 27 + head[position + 26]]
        start = position + 27 + len(table)
        packets += head[start : start + sum(table)]
        position = start + sum(table)
    for mark in (b"\x03vorbis", b"OpusTags"):
        found = packets.find(mark)
        if found >= 0:
            yield from _comment_bpms(packets[found + len(mark) :])


def _id3_bpms(tag: bytes) -> Iterator[float]:
    """TBPM frames (TBP in version 2.2) of an ID3v2 tag; sizes are 7-bit bytes from version 2.4 on."""
    version, position = tag[3], 10
    n_name, n_header = (3, 6) if version == 2 else (4, 10)
    end = min(len(tag), 10 + _from_7_bit(tag[6:10]))
    while position + n_header <= end:
        name, size = tag[position : position + n_name], tag[position + n_name : position + 2 * n_name]
        length = _from_7_bit(size) if version >= 4 else int.from_bytes(size, "big")
        if not name.strip(b"\0") or not length:
            return
        if name in (b"TBPM", b"TBP"):
            body = tag[position + n_header : position + n_header + length]
            encoding = {1: "utf-16", 2: "utf-16-be", 3: "utf-8"}.get(body[0], "latin-1")
            yield from _number(body[1:].decode(encoding, "replace"))
        position += n_header + length


def _from_7_bit(data: bytes) -> int:
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(data)))


def _number(text: str) -> Iterator[float]:
    found = re.match(r"\s*(\d{1,4}(?:[.,]\d{1,10})?)", text, re.ASCII)
    if found:
        yield float(found[1].replace(",", "."))


def _append_acid(file: BinaryIO, bpm: float, n_beats: int) -> None:
    """Put an ACID chunk after the audio, and make the RIFF length include it."""
    payload = _ACID.pack(_ACID_STRETCH, 60, 0x8000, 0.0, n_beats, 4, 4, bpm)
    end = file.seek(0, 2)
    file.write(b"\0" * (end % 2) + b"acid" + struct.pack("<I", len(payload)) + payload)
    n_bytes = file.tell() - 8
    file.seek(4)
    file.write(struct.pack("<I", n_bytes))


def _add_comment(file: BinaryIO, entry: str) -> None:
    """Put one more entry into the Vorbis comment block and move what follows."""
    start, length = next((start, length) for kind, start, length in _flac_blocks(file) if kind == 4)
    file.seek(start)
    block, rest = file.read(length), file.read()
    counted = 4 + int.from_bytes(block[:4], "little")
    n_entries = int.from_bytes(block[counted : counted + 4], "little") + 1
    data = entry.encode()
    block = block[:counted] + struct.pack("<I", n_entries) + block[counted + 4 :]
    block += struct.pack("<I", len(data)) + data
    file.seek(start - 3)
    file.write(len(block).to_bytes(3, "big") + block + rest)
