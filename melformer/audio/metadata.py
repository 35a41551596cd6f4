"""The tempo in a file's metadata: read from every format that is let in, written to WAV and FLAC.

Each reader looks at a bounded part of the file and treats all it finds there as untrusted.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from melformer.audio.grid import MAX_BPM, MIN_BPM, beats_per_second
from melformer.audio.sniff import MAX_FLAC_BLOCKS, chunks, flac_blocks, open_regular

MAX_TAG_BYTES = 2**20
MAX_COVER_BYTES = 2**25  # of an Ogg comment packet, which holds its pictures too
MAX_FRAMES = 10_000
_MOVED_BYTES = 2**22
_ACID = struct.Struct("<IHHfIHHf")  # flags, root note, two unknown, beats, metre (lower, upper), tempo
_ACID_ONE_SHOT, _ACID_STRETCH = 1, 4
_BASC = struct.Struct(">IIHHHH")  # version, beats, root note, scale, metre (upper, lower): an Apple Loop
MAX_TAGGED_BEATS = 4_096


@dataclass(frozen=True)
class TempoTags:
    """What a file's metadata say: BPM (40 to 240), number of beats, beats a bar; None where they do not."""

    bpm: float | None = None
    n_beats: int | None = None
    beats_per_bar: int | None = None
    is_one_shot: bool = False


@dataclass(frozen=True)
class LoopMarkers:
    """For a DAW: named points, in samples, and the samples [first, last) that are played round."""

    points: tuple[tuple[str, int], ...]
    first: int
    last: int


def read_tempo_tags(path: str | Path) -> TempoTags:
    """The tempo in a file's metadata; nothing for what is no audio file at all.

    Looks at the ACID chunk of a WAV, the `basc` chunk of an Apple Loop in AIFF, BPM and TEMPO comments of FLAC, Ogg
    Vorbis and Opus, and the TBPM frame of an ID3 tag in MP3, WAV and AIFF.
    """
    found = TempoTags()
    try:
        with open_regular(Path(path)) as file:
            for tags in _candidates(file):
                found = _joined(found, tags)
    except (OSError, ValueError, struct.error, IndexError):
        return found  # metadata are a courtesy: damaged ones are as good as none
    return found


def read_bpm_tag(path: str | Path) -> float | None:
    """The BPM (40 to 240) in the file's metadata, or None."""
    return read_tempo_tags(path).bpm


def _joined(first: TempoTags, second: TempoTags) -> TempoTags:
    """What the first one says, and what only the second one does, as far as it is possible."""
    bpm = second.bpm if second.bpm and MIN_BPM <= second.bpm <= MAX_BPM else None
    n_beats = second.n_beats if second.n_beats and 0 < second.n_beats <= MAX_TAGGED_BEATS else None
    bar = second.beats_per_bar if second.beats_per_bar and 1 < second.beats_per_bar <= 16 else None
    return TempoTags(
        first.bpm or bpm, first.n_beats or n_beats, first.beats_per_bar or bar, first.is_one_shot or second.is_one_shot
    )


def add_bpm_tag(path: str | Path, bpm: float, duration_s: float) -> None:
    """Write the BPM into a WAV (ACID chunk) or FLAC (BPM comment) that has none yet, in place."""
    with open(path, "r+b") as file:
        if file.read(4) == b"fLaC":
            _add_comment(file, f"BPM={bpm:.10g}")
        else:
            _insert_acid(file, bpm, round(duration_s * beats_per_second(bpm)))


def add_loop_markers(path: str | Path, markers: LoopMarkers, sample_rate: int) -> None:
    """Write markers behind the audio of a WAV, in place: the chunks `cue `, `LIST adtl` and `smpl`, as in Microsoft's
    Multimedia Programming Interface and Data Specifications 1.0 (1991)."""
    names = b"".join(
        _chunk(b"labl", struct.pack("<I", k) + name.encode("ascii", "replace") + b"\0")
        for k, (name, _) in enumerate(markers.points, 1)
    )
    cues = b"".join(struct.pack("<II4sIII", k, at, b"data", 0, 0, at) for k, (_, at) in enumerate(markers.points, 1))
    loop = struct.pack("<6I", 0, 0, markers.first, markers.last - 1, 0, 0)  # forward, and for ever
    sampler = struct.pack("<9I", 0, 0, round(1e9 / sample_rate), 60, 0, 0, 0, 1, 0) + loop
    with open(path, "r+b") as file:
        end = file.seek(0, 2)
        file.write(b"\0" * (end % 2))
        file.write(_chunk(b"cue ", struct.pack("<I", len(markers.points)) + cues))
        file.write(_chunk(b"LIST", b"adtl" + names))
        file.write(_chunk(b"smpl", sampler))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def _chunk(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def _candidates(file: BinaryIO) -> Iterator[TempoTags]:
    head = file.read(12)
    if head[:4] == b"fLaC":
        for kind, start, length in islice(flac_blocks(file), MAX_FLAC_BLOCKS):
            if kind == 4:  # the format allows one
                file.seek(start)
                yield from _comment_bpms(file.read(min(length, MAX_TAG_BYTES)))
                return
    elif head[:4] == b"OggS":
        yield from _ogg_bpms(file)
    elif head[:3] == b"ID3":
        yield from _id3_bpms(file, 0)
    else:
        has_id3 = False
        for name, start, length in chunks(file):
            file.seek(start)
            if name == b"acid" and length >= _ACID.size:
                yield _acid_tags(file.read(_ACID.size))
            elif name == b"basc" and length >= _BASC.size:
                _, n_beats, _, _, upper, _ = _BASC.unpack(file.read(_BASC.size))
                yield TempoTags(n_beats=n_beats, beats_per_bar=upper)
            elif name.lower() == b"id3 " and not has_id3:  # a second one would only be there to be slow
                has_id3 = True
                yield from _id3_bpms(file, start)


def _acid_tags(data: bytes) -> TempoTags:
    flags, _, _, _, n_beats, _, upper, tempo = _ACID.unpack(data)
    if flags & _ACID_ONE_SHOT:
        return TempoTags(is_one_shot=True)
    bpm = round(tempo, 4) if math.isfinite(tempo) else None  # float32 holds 119.92 as 119.919998
    return TempoTags(bpm, n_beats, upper)


def _comment_bpms(block: bytes) -> Iterator[TempoTags]:
    """BPM entries of a Vorbis comment block: vendor, count, then length and KEY=value of each entry."""
    position = 4 + int.from_bytes(block[:4], "little")
    n_entries = int.from_bytes(block[position : position + 4], "little")
    position += 4
    for _ in range(n_entries):
        if position + 4 > len(block):
            return
        length = int.from_bytes(block[position : position + 4], "little")
        key, _, value = block[position + 4 : position + 4 + min(length, MAX_TAG_BYTES)].partition(b"=")
        if key.upper() in (b"BPM", b"TEMPO", b"TBPM"):
            yield from _number(value.decode("utf-8", "replace"))
        position += 4 + length


def _ogg_bpms(file: BinaryIO) -> Iterator[TempoTags]:
    """The comment packet is the second of the stream; its pages are joined without their headers until it is whole."""
    packets, n_packets, position = bytearray(), 0, 0
    while n_packets < 2 and len(packets) < MAX_COVER_BYTES:
        file.seek(position)
        header = file.read(27)
        if header[:4] != b"OggS":
            break
        table = file.read(header[26])
        packets += file.read(sum(table))
        n_packets += sum(size < 255 for size in table)  # a packet ends in a segment that is not full
        position += 27 + len(table) + sum(table)
    for mark in (b"\x03vorbis", b"OpusTags"):
        found = packets.find(mark)
        if found >= 0:
            yield from _comment_bpms(bytes(packets[found + len(mark) :]))


def _id3_bpms(file: BinaryIO, start: int) -> Iterator[TempoTags]:
    """TBPM frames (TBP in version 2.2) of an ID3v2 tag at `start`; sizes are 7-bit bytes from version 2.4 on.

    Frames are skipped unread, so that a cover of any size may stand before.
    """
    file.seek(start)
    head = file.read(10)
    if head[:3] != b"ID3":
        return
    version, position = head[3], start + 10
    n_name, n_header = (3, 6) if version == 2 else (4, 10)
    end = start + 10 + _from_7_bit(head[6:10])
    for _ in range(MAX_FRAMES):
        if position + n_header > end:
            return
        file.seek(position)
        header = file.read(n_header)
        name, size = header[:n_name], header[n_name : 2 * n_name]
        length = _from_7_bit(size) if version >= 4 else int.from_bytes(size, "big")
        if not name.strip(b"\0") or not length:
            return
        if name in (b"TBPM", b"TBP"):
            body = file.read(min(length, MAX_TAG_BYTES))
            encoding = {1: "utf-16", 2: "utf-16-be", 3: "utf-8"}.get(body[0], "latin-1")
            yield from _number(body[1:].decode(encoding, "replace"))
        position += n_header + length


def _from_7_bit(data: bytes) -> int:
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(data)))


def _number(text: str) -> Iterator[TempoTags]:
    found = re.match(r"\s*(\d{1,4}(?:[.,]\d{1,10})?)", text, re.ASCII)
    if found:
        yield TempoTags(float(found[1].replace(",", ".")))


def _insert_acid(file: BinaryIO, bpm: float, n_beats: int) -> None:
    """Put an ACID chunk before the audio, since some DAWs look no further, and make the RIFF length include it."""
    payload = _ACID.pack(_ACID_STRETCH, 60, 0x8000, 0.0, n_beats, 4, 4, bpm)
    chunk = b"acid" + struct.pack("<I", len(payload)) + payload
    place = next(start - 8 for name, start, _ in chunks(file) if name == b"data")
    end = file.seek(0, 2)
    for stop in range(end, place, -_MOVED_BYTES):  # from the end, so that nothing is overwritten before it is read
        start = max(place, stop - _MOVED_BYTES)
        file.seek(start)
        moved = file.read(stop - start)
        file.seek(start + len(chunk))
        file.write(moved)
    file.seek(place)
    file.write(chunk)
    file.seek(4)
    file.write(struct.pack("<I", end + len(chunk) - 8))


def _add_comment(file: BinaryIO, entry: str) -> None:
    """Put one more entry into the Vorbis comment block and move what follows."""
    start, length = next((start, length) for kind, start, length in flac_blocks(file) if kind == 4)
    file.seek(start)
    block, rest = file.read(length), file.read()
    counted = 4 + int.from_bytes(block[:4], "little")
    n_entries = int.from_bytes(block[counted : counted + 4], "little") + 1
    data = entry.encode()
    block = block[:counted] + struct.pack("<I", n_entries) + block[counted + 4 :]
    block += struct.pack("<I", len(data)) + data
    file.seek(start - 3)
    file.write(len(block).to_bytes(3, "big") + block + rest)
