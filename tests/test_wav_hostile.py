"""Files that strangers send: each gets a named error that helps, within bounded time and memory."""

import os
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from melformer.audio.io import read_waveform
from melformer.audio.metadata import read_bpm_tag
from melformer.errors import AudioError


def wav(samples=b"\0" * 4_000, rate=44_100, n_channels=1, codec=1, bits=16, n_claimed=None):
    """A WAV file, byte by byte."""
    align = n_channels * bits // 8
    form = struct.pack("<HHIIHH", codec, n_channels, rate, (rate * align) % 2**32, align, bits)
    data = b"fmt " + struct.pack("<I", 16) + form
    data += b"data" + struct.pack("<I", len(samples) if n_claimed is None else n_claimed) + samples
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WAVE" + data


def flac(path, n_samples, rate=8_000, n_claimed=None):
    soundfile.write(path, np.zeros(n_samples, np.int16), rate, format="FLAC")
    if n_claimed is not None:  # 36 bits of total samples end at byte 26
        data = bytearray(path.read_bytes())
        data[21] = (data[21] & 0xF0) | (n_claimed >> 32)
        data[22:26] = struct.pack(">I", n_claimed & 0xFFFFFFFF)
        path.write_bytes(data)


def outcome(path):
    """How many samples were read (0: none), and the message of the error."""
    try:
        return read_waveform(path).n_samples, ""
    except AudioError as error:
        return 0, str(error)


BYTES = {
    "empty": (b"", "empty"),
    "text": (b"Dear musician, this is not a loop.\n" * 20, "supported audio"),
    "zeros": (bytes(10_000), "supported audio"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "supported audio"),
    "m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(500), "ffmpeg"),
    "header only": (wav(b""), "no audio|damaged"),
    "cut header": (wav()[:20], "damaged"),
    "no fmt": (b"RIFF\x10\0\0\0WAVEdata\x04\0\0\0\0\0\0\0", "damaged"),
    "1 Hz": (wav(rate=1), "8,000"),
    "0 Hz": (wav(rate=0), "8,000|damaged"),
    "4 GHz": (wav(rate=2**32 - 1), "192,000|damaged"),
    "9 channels": (wav(n_channels=9, samples=bytes(9 * 2 * 100)), "channels"),
    "1,000 channels": (wav(n_channels=1_000, samples=bytes(20_000)), "channels"),
    "0 channels": (wav(n_channels=0), "damaged"),
    "ima adpcm": (wav(codec=0x11, bits=4), "codec"),
    "ms adpcm": (wav(codec=2, bits=4), "codec"),
    "gsm": (wav(codec=0x31, bits=0), "codec"),
    "mp3 in wav": (wav(codec=0x55, bits=0), "codec"),
    "nan": (wav(np.array([0, np.nan, 0.5], "<f4").tobytes(), codec=3, bits=32), "NaN"),
    "infinite": (wav(np.array([0, np.inf, 0.5], "<f4").tobytes(), codec=3, bits=32), "NaN"),
    "huge": (wav(np.array([0, 3e38, 0.5], "<f4").tobytes(), codec=3, bits=32), "peaks"),
    "aifc ima4": (b"FORM\0\0\0\x40AIFCCOMM\0\0\0\x18\0\x01\0\0\0\x10\0\x10\x40\x0e\xac\x44" + bytes(6) + b"ima4\0\0",
                  "AIFF"),
    "fake flac": (b"fLaC" + bytes(1_000), "damaged"),
    "fake ogg": (b"OggS" + bytes(1_000), "damaged"),
    "fake mp3": (b"ID3\x03\0\0\0\0\0\0" + b"\xff\xfb" + bytes(50), "damaged"),
    "caf": (b"caff\0\1\0\0desc" + bytes(100), "supported audio"),
    "au": (b".snd" + bytes(100), "supported audio"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BYTES)
def test_each_is_refused_by_name(tmp_path, kind):
    content, reason = BYTES[kind]
    path = tmp_path / "loop.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=reason) as caught:
        read_waveform(path)
    assert "loop.wav" in str(caught.value) and "\n" not in str(caught.value)
    assert read_bpm_tag(path) is None


@pytest.mark.parametrize("name", ["missing.wav", ".", "pipe.wav", "\0.wav", "x" * 300])
def test_what_is_no_file_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError):
        read_waveform(tmp_path / name)
    assert read_bpm_tag(tmp_path / name) is None


def test_names_mean_nothing_to_the_reader(tmp_path):
    for suffix in (".raw", ".vox", ".mp3", ".txt"):
        path = tmp_path / f"loop{suffix}"
        path.write_bytes(wav(bytes(8_000)))
        assert read_waveform(path).n_samples == 4_000
        path.write_bytes(b"\x01\x02" * 500)
        with pytest.raises(AudioError):
            read_waveform(path)


def test_a_bomb_costs_no_more_than_its_limit(tmp_path):
    path = tmp_path / "bomb.flac"
    flac(path, 8_000 * 600)
    assert path.stat().st_size < 30_000  # 19 MB of float32 once decoded
    tracemalloc.start()
    with pytest.raises(AudioError, match="longer than the limit of 10 s"):
        read_waveform(path, max_s=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6  # 10 s are 0.3 MB, blocks and lists included well under 3 MB


def test_a_header_that_claims_hours_is_not_believed(tmp_path):
    path = tmp_path / "liar.flac"
    flac(path, 16_000, n_claimed=2**36 - 1)  # 256 GiB of float32
    tracemalloc.start()
    n_samples, message = outcome(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6
    assert n_samples == 16_000 or "liar.flac" in message


@pytest.mark.parametrize("n_claimed", [0xFFFFFFFF, 0x7FFFFFFF, 100_000])
def test_a_streamed_wav_without_a_length_is_read(tmp_path, n_claimed):
    path = tmp_path / "stream.wav"
    path.write_bytes(wav(np.arange(2_000, dtype="<i2").tobytes(), n_claimed=n_claimed))
    assert read_waveform(path).n_samples == 2_000


def test_a_cut_flac_is_read_as_far_as_it_goes_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.flac", rng.standard_normal(40_000) * 0.1, 44_100)
    data = (tmp_path / "a.flac").read_bytes()
    for n_bytes in range(60, len(data), len(data) // 12):
        (tmp_path / "cut.flac").write_bytes(data[:n_bytes])
        n_samples, message = outcome(tmp_path / "cut.flac")
        assert 0 < n_samples < 40_000 or "cut.flac" in message


def test_eight_channels_are_read(tmp_path):
    (tmp_path / "eight.wav").write_bytes(wav(bytes(16 * 500), n_channels=8))
    assert read_waveform(tmp_path / "eight.wav").n_channels == 8
