"""Waveforms, and audio files in and out."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from melformer.audio.io import read_waveform, write_waveform
from melformer.audio.metadata import read_bpm_tag
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, TempoError


def noise(n_samples=4_000, n_channels=2, sample_rate=44_100, level=0.3, seed=0):
    rng = np.random.default_rng(seed)
    return Waveform((level * rng.standard_normal((n_samples, n_channels))).astype(np.float32), sample_rate)


def test_waveform_knows_its_shape():
    waveform = noise(441, 2)
    assert (waveform.n_samples, waveform.n_channels, waveform.duration_s) == (441, 2, 0.01)
    assert waveform.samples.dtype == np.float32
    assert Waveform(np.zeros(5), 8_000).samples.shape == (5, 1)
    np.testing.assert_allclose(waveform.mono().samples[:, 0], waveform.samples.mean(axis=1), atol=1e-7)
    np.testing.assert_array_equal(waveform.slice(3, 7).samples, waveform.samples[3:7])


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros((0, 1), np.float32), 44_100),
        (np.zeros((4, 0), np.float32), 44_100),
        (np.zeros((4, 9), np.float32), 44_100),
        (np.zeros((4, 1, 1), np.float32), 44_100),
        (np.zeros((4, 1), np.int16), 44_100),
        (np.array([0.0, np.nan]), 44_100),
        (np.array([0.0, -np.inf]), 44_100),
        (np.array([0.0, 1e30]), 44_100),
        (np.zeros(4), 7_999),
        (np.zeros(4), 192_001),
        (np.zeros(4), 44_100.5),
    ],
)
def test_waveform_refuses_what_is_no_audio(samples, rate):
    with pytest.raises(AudioError):
        Waveform(samples, rate)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 3), (0, 5_000)])
def test_slice_refuses_what_is_outside(start, stop):
    with pytest.raises(AudioError):
        noise().slice(start, stop)


@pytest.mark.parametrize(
    ("suffix", "encoding", "step"),
    [(".wav", "pcm16", 2**-15), (".wav", "pcm24", 2**-23), (".wav", "float", 0.0), (".flac", "pcm16", 2**-15),
     (".flac", "pcm24", 2**-23)],
)  # fmt: skip
@pytest.mark.parametrize("n_channels", [1, 2])
def test_what_is_written_is_read(tmp_path, suffix, encoding, step, n_channels):
    waveform = noise(4_001, n_channels, 48_000)
    path = tmp_path / f"loop{suffix}"
    write_waveform(path, waveform, encoding=encoding)
    back = read_waveform(path)
    assert (back.sample_rate, back.samples.shape) == (48_000, waveform.samples.shape)
    expected = np.clip(waveform.samples, -1, 1 - step) if step else waveform.samples
    assert np.abs(back.samples - expected).max() <= step / 2
    write_waveform(path, back, encoding=encoding)
    np.testing.assert_array_equal(read_waveform(path).samples, back.samples)


@pytest.mark.parametrize("encoding", ["pcm16", "pcm24"])
def test_loud_samples_clip_and_never_wrap_or_rescale(tmp_path, encoding):
    waveform = Waveform(np.array([0.25, 1.0, 1.5, -1.0, -7.0, 0.0]), 44_100)
    write_waveform(tmp_path / "loud.wav", waveform, encoding=encoding)
    back = read_waveform(tmp_path / "loud.wav").samples[:, 0]
    np.testing.assert_allclose(back, [0.25, 1, 1, -1, -1, 0], atol=2**-15)


def test_float_keeps_what_is_beyond_full_scale(tmp_path):
    waveform = Waveform(np.array([3.5, -2.0, 1e-9]), 44_100)
    write_waveform(tmp_path / "loud.wav", waveform, encoding="float")
    np.testing.assert_array_equal(read_waveform(tmp_path / "loud.wav").samples, waveform.samples)


@settings(max_examples=25, deadline=None)
@given(
    bpm=st.floats(40, 240).map(lambda value: round(value, 3)),
    suffix=st.sampled_from([".wav", ".flac"]),
    n_samples=st.integers(1, 300),
    n_channels=st.integers(1, 2),
)
def test_the_bpm_is_written_and_the_sound_stays(tmp_path_factory, bpm, suffix, n_samples, n_channels):
    path = tmp_path_factory.mktemp("bpm") / f"loop{suffix}"
    waveform = noise(n_samples, n_channels)
    write_waveform(path, waveform, bpm=bpm, encoding="pcm24")
    assert read_bpm_tag(path) == pytest.approx(bpm, abs=1e-4)
    np.testing.assert_allclose(read_waveform(path).samples, np.clip(waveform.samples, -1, 1), atol=2**-23)


def test_the_acid_chunk_is_where_daws_look(tmp_path):
    write_waveform(tmp_path / "loop.wav", noise(44_100), bpm=120)
    data = (tmp_path / "loop.wav").read_bytes()
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    start = data.index(b"acid") + 8
    flags, _root, _, _, n_beats, lower, upper, tempo = struct.unpack("<IHHfIHHf", data[start : start + 24])
    assert (flags & 1, n_beats, lower, upper, tempo) == (0, 2, 4, 4, 120.0)


@pytest.mark.parametrize(
    ("name", "kind", "subtype"),
    [("a.ogg", "OGG", "VORBIS"), ("a.opus", "OGG", "OPUS"), ("a.mp3", "MP3", "MPEG_LAYER_III"),
     ("a.aiff", "AIFF", "PCM_16"), ("a.wav", "RF64", "PCM_24"), ("a.wav", "WAVEX", "PCM_16"), ("a.wav", "WAV", "ULAW"),
     ("a.flac", "WAV", "PCM_16"), ("a", "FLAC", "PCM_16")],
)  # fmt: skip
def test_formats_are_read_by_their_content(tmp_path, name, kind, subtype):
    samples = np.sin(np.arange(24_000) * 0.05)[:, None] * [0.5, 0.25]
    path = tmp_path / name
    soundfile.write(path, samples, 48_000, subtype, format=kind)
    waveform = read_waveform(path)
    assert waveform.n_channels == 2 and waveform.sample_rate == 48_000
    assert abs(waveform.n_samples - 24_000) < 2_500  # lossy codecs pad
    assert waveform.samples[4_000:20_000].std(axis=0) == pytest.approx([0.354, 0.177], rel=0.05)


def test_other_peoples_bpm_tags(tmp_path):
    frame = b"TBPM" + struct.pack(">I", 6) + b"\0\0" + b"\x00174.5"[:6]
    tag = b"ID3\x03\0\0" + bytes([0, 0, 0, len(frame)]) + frame
    (tmp_path / "a.mp3").write_bytes(tag + b"\xff\xfb\x90\x00" + bytes(400))
    assert read_bpm_tag(tmp_path / "a.mp3") == 174.5
    frame = b"TBPM" + bytes([0, 0, 0, 11]) + b"\0\0\x01" + "92,5".encode("utf-16")
    tag = b"ID3\x04\0\0" + bytes([0, 0, 0, len(frame)]) + frame
    body = b"WAVEid3 " + struct.pack("<I", len(tag)) + tag
    (tmp_path / "b.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert read_bpm_tag(tmp_path / "b.wav") == 92.5
    comments = b"\x01\0\0\0v\x02\0\0\0" + b"\x08\0\0\0TITLE=hi" + b"\x09\0\0\0bpm=133.3"
    packet = b"OpusTags" + comments
    page = b"OggS" + bytes(22) + b"\x01" + bytes([len(packet)]) + packet
    (tmp_path / "c.opus").write_bytes(page)
    assert read_bpm_tag(tmp_path / "c.opus") == 133.3


@pytest.mark.parametrize("bpm", [0, -1, float("nan"), 10_000, "fast"])
def test_an_impossible_bpm_is_not_written(tmp_path, bpm):
    with pytest.raises(TempoError):
        write_waveform(tmp_path / "loop.wav", noise(), bpm=bpm)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "encoding"), [("a.mp3", "pcm16"), ("a", "pcm16"), ("a.wav", "pcm8"), ("a.flac", "float")]
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, name, encoding):
    with pytest.raises(AudioError):
        write_waveform(tmp_path / name, noise(), encoding=encoding)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "loop.wav"
    write_waveform(path, noise(seed=1))
    before = path.read_bytes()
    monkeypatch.setattr("melformer.audio.io.add_bpm_tag", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_waveform(path, noise(seed=2), bpm=100)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
