"""Files that libsndfile reads half or not at all: each is made here, and read whole."""

import contextlib
import io
import struct

import numpy as np
import pytest
import soundfile

from melformer.audio.io import read_waveform
from melformer.errors import AudioError

RATE = 44_100


def music(seconds: float, rate: int = RATE) -> np.ndarray:
    """Half bursts, half noise, so that a variable bitrate varies."""
    rng = np.random.default_rng(0)
    n = round(seconds * rate)
    time = np.arange(n) / rate
    sound = 0.3 * np.sin(2 * np.pi * 220 * time) * np.exp(-12 * (time % 0.5))
    sound[n // 2 :] += 0.2 * rng.standard_normal(n - n // 2)
    return sound.astype(np.float32)


def encoded(sound: np.ndarray, rate: int = RATE, **options: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, **options)
    return file.getvalue()


def test_an_mp3_of_variable_bitrate_without_a_count_of_its_frames_is_read_whole(tmp_path):
    sound = music(8.0)
    data = encoded(sound, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.5)
    place = data.find(b"Xing")
    assert 0 < place < 100
    second = data.find(data[:2], place)  # the frame behind the one that only counts
    path = tmp_path / "loop.mp3"
    path.write_bytes(data[second:])
    assert soundfile.info(path).frames < 0.7 * len(sound)  # what libsndfile alone would make of it
    assert read_waveform(path).n_samples == pytest.approx(len(sound), abs=2_500)  # the delay of the codec


def test_an_mp3_with_its_count_is_read_as_it_is(tmp_path):
    sound = music(4.0)
    for mode in ("VARIABLE", "CONSTANT"):
        path = tmp_path / f"{mode}.mp3"
        path.write_bytes(encoded(sound, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode))
        assert read_waveform(path).n_samples == soundfile.info(path).frames == len(sound)


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", RATE), ("OPUS", 48_000)])
def test_ogg_streams_that_follow_each_other_are_all_read(tmp_path, subtype, rate):
    first, second = music(2.0, rate), music(1.5, rate)
    path = tmp_path / "radio.ogg"
    path.write_bytes(b"".join(encoded(part, rate, format="OGG", subtype=subtype) for part in (first, second)))
    read = read_waveform(path)
    assert read.n_samples == len(first) + len(second)
    bursts = len(second) // 2  # the noise behind them does not survive a codec sample by sample
    assert np.corrcoef(read.samples[len(first) : len(first) + bursts, 0], second[:bursts])[0, 1] > 0.8


def test_ogg_streams_of_different_kinds_are_refused_with_the_reason(tmp_path):
    path = tmp_path / "radio.ogg"
    parts = [encoded(music(1.0, rate), rate, format="OGG", subtype="VORBIS") for rate in (44_100, 48_000)]
    path.write_bytes(b"".join(parts))
    with pytest.raises(AudioError, match=r"streams of different kinds \(44,100 Hz and 1 channels, then 48,000 Hz"):
        read_waveform(path)


def test_a_wav_whose_sizes_were_never_filled_in_is_read_whole(tmp_path):
    sound = music(1.0)
    data = bytearray(encoded(sound, format="WAV", subtype="PCM_16"))
    size = data.find(b"data") + 4
    data[4:8] = data[size : size + 4] = bytes(4)
    path = tmp_path / "recorder.wav"
    path.write_bytes(data)
    assert read_waveform(path).n_samples == len(sound)


def test_a_wav_without_any_sound_is_still_refused(tmp_path):
    path = tmp_path / "empty.wav"
    path.write_bytes(encoded(np.zeros(0, np.float32), format="WAV", subtype="PCM_16"))
    with pytest.raises(AudioError, match="holds no audio"):
        read_waveform(path)


def test_bw64_is_read(tmp_path):
    sound = music(1.0)
    data = bytearray(encoded(sound, format="RF64", subtype="PCM_24"))
    data[:4] = b"BW64"
    path = tmp_path / "studio.wav"
    path.write_bytes(data)
    np.testing.assert_allclose(read_waveform(path).samples[:, 0], sound, atol=2e-7)


@pytest.mark.parametrize("kind", ["mp3", "ogg"])
def test_damage_in_such_files_ends_in_an_error_or_in_less_sound(tmp_path, kind):
    rng = np.random.default_rng(1)
    whole = encoded(music(1.0), format=kind.upper(), subtype={"mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}[kind])
    for _ in range(20):
        data = bytearray(whole * 2)
        for place in rng.integers(0, len(data), 30):
            data[place] = rng.integers(256)
        path = tmp_path / f"damaged.{kind}"
        path.write_bytes(data[: int(rng.integers(100, len(data)))])
        with contextlib.suppress(AudioError):
            assert 0 < read_waveform(path).n_samples < 10 * RATE


def test_an_endless_length_is_not_believed(tmp_path):
    """Two Opus streams whose first page is repeated until the limit of links."""
    part = encoded(music(0.3, 48_000), 48_000, format="OGG", subtype="OPUS")
    path = tmp_path / "long.opus"
    path.write_bytes(part * 40)
    with pytest.raises(AudioError, match="longer than the limit"):
        read_waveform(path, max_s=5.0)


def test_the_acid_chunk_stands_before_the_audio(tmp_path):
    from melformer.audio.io import write_waveform
    from melformer.audio.waveform import Waveform

    path = tmp_path / "loop.wav"
    sound = music(2.0)
    write_waveform(path, Waveform(sound, RATE), bpm=120, encoding="float")
    data = path.read_bytes()
    assert 0 < data.find(b"acid") < data.find(b"data")
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    np.testing.assert_array_equal(read_waveform(path).samples[:, 0], sound)
