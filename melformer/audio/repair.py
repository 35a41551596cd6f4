"""Files that libsndfile reads half, or not at all, shown to it so that it reads them whole.

It takes the length of an MP3 from its first frame where no Xing header counts the frames, which cuts a file of variable
bitrate; of an Ogg file whose streams follow each other (a chain, as web radio writes) it reads the first alone; it
believes a WAV whose recorder never came back to fill in its sizes; it does not know BW64, another name for RF64.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from melformer.audio.sniff import chunks

_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # kbps, layer III
_RATES = (44_100, 48_000, 32_000)
_XING_BYTES = 200
_TOO_SHORT = 0.99


@dataclass(frozen=True)
class ByteSpan:
    """Bytes of their own, or the stretch `start` to `stop` of the file."""

    start: int
    stop: int
    own: bytes = b""


def _bytes(own: bytes) -> ByteSpan:
    return ByteSpan(0, len(own), own)


class SplicedFile(io.RawIOBase):
    """A file made of parts of another one and of bytes put between them, for reading only."""

    def __init__(self, raw: BinaryIO, parts: list[ByteSpan]) -> None:
        self._raw, self._parts, self._position = raw, parts, 0
        self._length = sum(part.stop - part.start for part in parts)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        done, begin = 0, 0
        for part in self._parts:
            end = begin + part.stop - part.start
            if self._position < end and done < len(view):
                offset = self._position - begin
                wanted = min(len(view) - done, end - self._position)
                data = self._take(part, offset, wanted)
                view[done : done + len(data)] = data
                done += len(data)
                self._position += len(data)
                if len(data) < wanted:
                    break
            begin = end
        return done

    def _take(self, part: ByteSpan, offset: int, n_bytes: int) -> bytes:
        if part.own:
            return part.own[offset : offset + n_bytes]
        self._raw.seek(part.start + offset)
        return self._raw.read(n_bytes)


def repaired(raw: BinaryIO) -> list[SplicedFile]:
    """The file as libsndfile reads it whole, one piece after another; none where it reads it as it is."""
    raw.seek(0)
    head = raw.read(12)
    if head[:4] == b"OggS":
        return _ogg_links(raw)
    if head[:4] in (b"RIFF", b"BW64") and head[8:12] == b"WAVE":
        return _wav_with_sizes(raw, head)
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return _counted_mp3(raw)
    return []


def _size(raw: BinaryIO) -> int:
    return raw.seek(0, io.SEEK_END)


def _wav_with_sizes(raw: BinaryIO, head: bytes) -> list[SplicedFile]:
    """A WAV whose sound chunk claims no bytes though some follow: it gets all that follow. BW64 becomes RF64."""
    size, parts = _size(raw), []
    position = 0
    if head[:4] == b"BW64":
        parts, position = [_bytes(b"RF64")], 4
    else:
        for name, start, length in chunks(raw):
            if name == b"data":
                if length == 0 and size > start:
                    kept = min(size - start, 2**32 - 1)
                    parts = [ByteSpan(0, start - 4), _bytes(struct.pack("<I", kept))]
                    position = start
                break
    return [SplicedFile(raw, [*parts, ByteSpan(position, size)])] if parts else []


def _ogg_links(raw: BinaryIO) -> list[SplicedFile]:
    """The links of a chain, each an Ogg file of its own; none for a file that is no chain."""
    starts, in_heads, size = [0], True, _size(raw)
    for position, is_first in _ogg_pages(raw, size):
        if is_first and not in_heads:
            starts.append(position)
        in_heads = is_first
    if len(starts) == 1:
        return []
    return [SplicedFile(raw, [ByteSpan(a, b)]) for a, b in zip(starts, [*starts[1:], size])]


def _ogg_pages(raw: BinaryIO, size: int) -> Iterator[tuple[int, bool]]:
    """Where each page starts, and whether it begins a stream."""
    position = 0
    while position + 27 <= size:
        raw.seek(position)
        header = raw.read(27)
        if header[:4] != b"OggS":
            return
        table = raw.read(header[26])
        yield position, bool(header[5] & 2)
        position += 27 + len(table) + sum(table)


def _counted_mp3(raw: BinaryIO) -> list[SplicedFile]:
    """An MP3 of variable bitrate behind a Xing header that counts its frames, where it has none or a wrong one."""
    start, size = _after_id3(raw), _size(raw)
    frames = _Mp3Frames(raw, start, size)
    if frames.n < 2 or frames.counted >= _TOO_SHORT * frames.n or (not frames.counted and not frames.varies):
        return []
    skipped = frames.first_length if frames.counted else 0
    return [SplicedFile(raw, [_bytes(frames.xing()), ByteSpan(start + skipped, size)])]


def _after_id3(raw: BinaryIO) -> int:
    raw.seek(0)
    head = raw.read(10)
    if head[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))


class _Mp3Frames:
    """Frames of layer III from `start` on: how many (`n`), whether their bitrate varies, how many a header counts."""

    def __init__(self, raw: BinaryIO, start: int, size: int) -> None:
        self.n, self.varies, self.counted, self.first_length = 0, False, 0, 0
        self.first, first_rate, position = b"", -1, start
        while position + 4 <= size:
            raw.seek(position)
            header = raw.read(4)
            length = _frame_length(header)
            if not length:
                break
            if not self.n:
                self.first, self.first_length = header, length
                self.counted = _claimed(header + raw.read(_XING_BYTES))
            elif first_rate < 0:
                first_rate = header[2] >> 4
            elif header[2] >> 4 != first_rate:
                self.varies = True
            self.n += 1
            position += length

    def xing(self) -> bytes:
        """A silent frame that holds the count: the first frame's header at a bitrate that leaves room for it."""
        header = bytearray(self.first)
        header[1] |= 1  # no checksum
        for rate in range(1, 15):
            header[2] = (header[2] & 0x0D) | rate << 4
            if _frame_length(bytes(header)) >= _XING_BYTES:
                break
        length = _frame_length(bytes(header))
        n_sound = self.n - (1 if self.counted else 0)
        body = bytes(_side_bytes(self.first)) + b"Xing" + struct.pack(">II", 1, n_sound)
        return (bytes(header) + body).ljust(length, b"\0")


def _side_bytes(header: bytes) -> int:
    is_mpeg1, is_mono = (header[1] >> 3) & 3 == 3, header[3] >> 6 == 3
    return (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)


def _claimed(frame: bytes) -> int:
    """The number of frames that a Xing, Info or VBRI header claims, its own included; 0 without one.

    A file may end within it; what is missing counts as 0.
    """
    frame = frame.ljust(_XING_BYTES, b"\0")
    place = 4 + _side_bytes(frame)
    if frame[place : place + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack_from(">II", frame, place + 4)
        return count + 1 if flags & 1 else 0
    if frame[36:40] == b"VBRI":
        return struct.unpack_from(">I", frame, 36 + 14)[0] + 1
    return 0


def _frame_length(header: bytes) -> int:
    """Bytes of a frame of layer III; 0 for what is no such header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate_index, bits = (header[1] >> 3) & 3, (header[2] >> 2) & 3, header[2] >> 4
    if version == 1 or rate_index == 3 or not 0 < bits < 15:
        return 0
    rate = _RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    kbps, per_frame = (_MPEG1[bits], 144_000) if version == 3 else (_MPEG2[bits], 72_000)
    return per_frame * kbps // rate + ((header[2] >> 1) & 1)
