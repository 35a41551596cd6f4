"""Old codecs and endless tags: what a reader never opens, and never reads to its end."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from melformer.audio.io import read_waveform
from melformer.audio.metadata import read_bpm_tag
from melformer.errors import AudioError

GUID = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(codec: int, extra: bytes = b"", bits: int = 16) -> bytes:
    block = bits // 8 if bits >= 8 else 256
    return chunk(b"fmt ", struct.pack("<HHIIHH", codec, 1, 44_100, 44_100 * 2, block, bits) + extra)


def extensible(codec: int) -> bytes:
    return fmt(0xFFFE, struct.pack("<HHIH", 22, 16, 4, codec) + GUID)


SOUND = chunk(b"data", bytes(8_000))
OLD = {
    "IMA ADPCM": riff(fmt(0x11, struct.pack("<HH", 2, 505), 4), SOUND),
    "IMA ADPCM, extensible": riff(extensible(0x11), SOUND),
    "MS ADPCM, extensible": riff(extensible(2), SOUND),
    "IMA ADPCM behind 998 empty chunks": riff(*[chunk(b"junk", b"")] * 998, fmt(0x11, bits=4), SOUND),
    "IMA ADPCM behind 1,000 empty chunks": riff(*[chunk(b"junk", b"")] * 1_000, fmt(0x11, bits=4), SOUND),
    "IMA ADPCM behind a plain format and 1,000 chunks": riff(
        fmt(1), *[chunk(b"junk", b"")] * 1_000, fmt(0x11, bits=4), SOUND),
    "a second format": riff(fmt(1), fmt(0x11, bits=4), SOUND),
    "no format": riff(SOUND),
    "no format, aiff": b"FORM\0\0\0\x14AIFFSSND\0\0\0\x08" + bytes(8),
}  # fmt: skip


@pytest.mark.parametrize("kind", OLD)
def test_an_old_codec_never_reaches_the_decoder(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*args: object, **options: object) -> None:
        pytest.fail("libsndfile was asked")

    monkeypatch.setattr(soundfile, "SoundFile", opened)
    path = tmp_path / "loop.wav"
    path.write_bytes(OLD[kind])
    with pytest.raises(AudioError, match=r"loop\.wav is (a WAV with codec|damaged).*export it"):
        read_waveform(path)


def test_plain_formats_are_read(tmp_path: Path) -> None:
    for number, data in enumerate((riff(fmt(1), SOUND), riff(extensible(1), SOUND))):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(data)
        assert read_waveform(path).n_samples == 4_000
    chunks = [chunk(b"junk", b"")] * 900
    path.write_bytes(riff(*chunks, fmt(1), SOUND))
    assert read_waveform(path).n_samples == 4_000


def id3(*frames: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack(">I", len(data)) + b"\0\0" + data for name, data in frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + body


def test_tags_are_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in bytes read, since seconds depend on the machine: one comment, one ID3 tag, 1,000 blocks."""
    endless = {
        "990 tags": riff(fmt(1), *[chunk(b"id3 ", id3((b"TIT2", bytes(20_000))))] * 900, SOUND),
        "a million blocks": b"fLaC" + b"\x01\0\0\0" * 1_000_000 + b"\x84\0\0\0",
        "500 comments": b"fLaC" + (b"\x04\x00\xff\xff" + bytes(65_535)) * 500 + b"\x84\0\0\0",
    }
    for name, data in endless.items():
        path = tmp_path / "endless.wav"
        path.write_bytes(data)
        counted = CountingFile.patch(monkeypatch)
        assert read_bpm_tag(path) is None, name
        assert counted.n_bytes < 100_000 and counted.n_reads < 2_000, name
    path.write_bytes(endless["a million blocks"])
    with pytest.raises(AudioError, match="more than 1,000 blocks"):
        read_waveform(path)


class CountingFile:
    """Counts what is read of the files that are opened."""

    def __init__(self) -> None:
        self.n_bytes = self.n_reads = 0

    @classmethod
    def patch(cls, monkeypatch: pytest.MonkeyPatch) -> "CountingFile":
        from melformer.audio import metadata, sniff

        counted = cls()

        def open_regular(path: Path) -> object:
            file = sniff.open_regular(path)
            read = file.read

            class Counting:
                def __enter__(self) -> "Counting":
                    return self

                def __exit__(self, *args: object) -> None:
                    file.close()

                def seek(self, *args: int) -> int:
                    return file.seek(*args)

                def read(self, n: int = -1) -> bytes:
                    data = read(n)
                    counted.n_bytes += len(data)
                    counted.n_reads += 1
                    return data

            return Counting()

        monkeypatch.setattr(metadata, "open_regular", open_regular)
        return counted


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_the_tempo_is_still_found(tmp_path: Path, suffix: str) -> None:
    from melformer.audio.io import write_waveform
    from melformer.audio.waveform import Waveform

    path = tmp_path / f"a{suffix}"
    write_waveform(path, Waveform(np.zeros((8_000, 1), np.float32), 8_000), bpm=123.0)
    assert read_bpm_tag(path) == 123.0
