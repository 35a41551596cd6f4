"""What files' metadata say of their tempo; every file is made here."""

import struct

import numpy as np
import pytest
import soundfile

from melformer.audio.metadata import TempoTags, read_bpm_tag, read_tempo_tags

RATE = 44_100


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(body)) + body + bytes(len(body) % 2)


def wav(*chunks: bytes) -> bytes:
    """A WAV of 0.1 s of silence, with these chunks behind its sound."""
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))
    body = b"WAVE" + fmt + chunk(b"data", bytes(RATE // 5)) + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def acid(flags: int, n_beats: int, upper: int, bpm: float) -> bytes:
    return chunk(b"acid", struct.pack("<IHHfIHHf", flags, 60, 0x8000, 0.0, n_beats, 4, upper, bpm))


def test_the_acid_chunk_tells_beats_metre_and_bpm(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(acid(4, 12, 3, 92.5)))
    assert read_tempo_tags(path) == TempoTags(92.5, 12, 3)


def test_a_one_shot_has_no_tempo(tmp_path):
    path = tmp_path / "kick.wav"
    path.write_bytes(wav(acid(1, 1, 4, 120.0)))
    assert read_tempo_tags(path) == TempoTags(is_one_shot=True)


def test_apple_loops_tell_their_beats(tmp_path):
    comm = struct.pack(">hIh", 1, RATE // 10, 16) + b"\x40\x0e\xac\x44" + bytes(6)
    sound = chunk(b"SSND", bytes(8 + RATE // 5), ">")
    basc = chunk(b"basc", struct.pack(">IIHHHHH", 1, 8, 48, 2, 3, 4, 1) + bytes(66), ">")
    body = b"AIFF" + chunk(b"COMM", comm, ">") + basc + sound
    path = tmp_path / "loop.aif"
    path.write_bytes(b"FORM" + struct.pack(">I", len(body)) + body)
    assert read_tempo_tags(path) == TempoTags(None, 8, 3)


def test_a_bpm_behind_a_large_cover_is_found_in_an_mp3(tmp_path):
    cover = b"APIC" + struct.pack(">I", 3_000_000) + bytes(2) + bytes(3_000_000)
    text = b"TBPM" + struct.pack(">I", 6) + bytes(2) + b"\x00174.5"[:6]
    frames = cover + text
    size = bytes((len(frames) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path = tmp_path / "song.mp3"
    path.write_bytes(b"ID3\x03\0\0" + size + frames + b"\xff\xfb\x90\x00" + bytes(400))
    assert read_bpm_tag(path) == 174.5


def test_a_bpm_behind_a_large_cover_is_found_in_an_ogg(tmp_path):
    """The comment packet spans many pages: it is written here as a muxer does."""
    entries = [b"METADATA_BLOCK_PICTURE=" + b"A" * 400_000, b"BPM=133.3"]
    comment = b"\x03vorbis" + struct.pack("<I", 0) + struct.pack("<I", len(entries))
    comment += b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
    data = page(b"\x01vorbis" + bytes(23), 2)
    for start in range(0, len(comment), 255 * 255):
        data += page(comment[start : start + 255 * 255], 1 if start else 0)
    path = tmp_path / "song.ogg"
    path.write_bytes(data)
    assert read_bpm_tag(path) == 133.3


def page(body: bytes, flags: int) -> bytes:
    """An Ogg page; what fills it to the last byte goes on in the next one."""
    full, rest = divmod(len(body), 255)
    table = b"\xff" * full + (bytes([rest]) if full < 255 else b"")
    return b"OggS\0" + bytes([flags]) + bytes(20) + bytes([len(table)]) + table + body


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
def test_a_bpm_out_of_range_is_none(tmp_path, kind):
    path = tmp_path / f"x.{kind.lower()}"
    soundfile.write(path, np.zeros(RATE), RATE, format=kind)
    assert read_tempo_tags(path) == TempoTags()


def test_a_metre_and_beats_out_of_range_are_none(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(acid(4, 2**31, 99, 1e9)))
    assert read_tempo_tags(path) == TempoTags()
