"""A few hundred damaged files of every format, in this process: nothing but named errors, ever."""

import time

import numpy as np
import pytest
import soundfile

from melformer.audio.tags import read_bpm_tag
from melformer.audio.tempo import find_tempo, fit_to_grid
from melformer.audio.tiaf import Tiaf, read_tiaf, write_tiaf
from melformer.audio.wav import read_waveform, write_waveform
from melformer.audio.waveform import Waveform
from melformer.errors import MelformerError

RATE = 22_050
PER_FORMAT = 30
FORMATS = {
    "pcm16.wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "ulaw.wav": ("WAV", "ULAW"),
    "x.rf64": ("RF64", "PCM_24"), "wavex.wav": ("WAVEX", "PCM_32"), "a.flac": ("FLAC", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"), "a.opus": ("OGG", "OPUS"), "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.aiff": ("AIFF", "PCM_16"), "float.aiff": ("AIFF", "FLOAT"),
}  # fmt: skip


def clicks():
    time_s = np.arange(RATE) / RATE
    sound = 0.5 * np.sin(2 * np.pi * 300 * time_s) * np.exp(-30 * (time_s % 0.25))
    return Waveform(np.stack([sound, -sound], axis=1), RATE)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """One good file of every format, and a .tiaf, as bytes."""
    folder = tmp_path_factory.mktemp("originals")
    for name, (kind, subtype) in FORMATS.items():
        rate = 24_000 if subtype == "OPUS" else RATE  # Opus knows few rates
        soundfile.write(folder / name, clicks().samples, rate, subtype, format=kind)
    write_waveform(folder / "tagged.wav", clicks(), bpm=120)
    write_waveform(folder / "tagged.flac", clicks(), bpm=120)
    write_tiaf(folder / "a.tiaf", Tiaf.from_waveform(clicks(), 120))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damage(data, rng):
    """One to three kinds of damage, mostly in the first 200 bytes, where the lengths and rates are."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        reach = len(data) if rng.random() < 0.3 else min(len(data), 200)
        at = int(rng.integers(0, max(1, reach)))
        kind = rng.integers(0, 6)
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            data[at : at + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x01\0\0\0"][
                rng.integers(0, 4)
            ]
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 40))]
        elif kind == 4:
            data[at:at] = rng.integers(0, 256, rng.integers(1, 40), dtype=np.uint8).tobytes()
        else:
            data[at:at] = data[: int(rng.integers(1, 400))]
    return bytes(data)


def use(path):
    """All that the package does with a stranger's file before a model sees it."""
    tag = read_bpm_tag(path)
    assert tag is None or 40 <= tag <= 240
    if path.suffix == ".tiaf":
        read_tiaf(path).to_waveform()
        return
    waveform = read_waveform(path, max_s=20)
    tempo = find_tempo(waveform.slice(0, min(waveform.n_samples, 2 * waveform.sample_rate)), path=path)
    assert 40 <= tempo.bpm <= 240 and 0 <= tempo.confidence <= 1 and 0 <= tempo.start_confidence <= 1
    assert fit_to_grid(waveform, tempo.bpm, tempo.start_s).waveform.n_samples > 0


def outcome(path):
    """The message of the named error, or None; any other error goes through."""
    try:
        use(path)
    except MelformerError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", [*FORMATS, "tagged.wav", "tagged.flac", "a.tiaf"])
def test_damaged_files_are_read_or_refused_by_name(tmp_path, originals, name):
    rng = np.random.default_rng(sum(name.encode()))
    path = tmp_path / f"damaged_{name}"
    path.write_bytes(originals[name])
    use(path)
    n_refused = 0
    for _ in range(PER_FORMAT):
        path.write_bytes(damage(originals[name], rng))
        began = time.process_time()
        message = outcome(path)
        n_refused += message is not None
        assert message is None or (message and "\n" not in message)
        assert time.process_time() - began < 5  # a second of audio; anything longer was led astray
    assert n_refused > 0


def test_rubbish_behind_every_signature(tmp_path):
    rng = np.random.default_rng(7)
    for head in (b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb", b"FORM\0\0\1\0AIFFCOMM"):
        for n_bytes in (0, 1, 30, 3_000):
            path = tmp_path / "rubbish.wav"
            path.write_bytes(head + rng.integers(0, 256, n_bytes, dtype=np.uint8).tobytes())
            assert read_bpm_tag(path) is None
            with pytest.raises(MelformerError):
                use(path)
