"""`.tiaf` files: what the world can read, and what is refused."""

import base64
import json

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from melformer.audio.tiaf import SAMPLES_PER_BEAT, Tiaf, read_tiaf, write_tiaf
from melformer.audio.waveform import Waveform
from melformer.errors import TiafError


def packed(level=0.3, n_channels=2, double_time=False):
    rng = np.random.default_rng(0)
    samples = (level * rng.uniform(-1, 1, (30_000, n_channels))).astype(np.float32)
    return Tiaf.from_waveform(Waveform(samples, 22_050), 133.3, double_time)


@settings(max_examples=12, deadline=None)
@given(
    level=st.sampled_from([1e-20, 1e-4, 0.1, 0.999, 1.0, 1.5, 1_000.0]),
    n_channels=st.integers(1, 2),
    twice=st.booleans(),
)
def test_written_and_read(tmp_path_factory, level, n_channels, twice):
    path = tmp_path_factory.mktemp("tiaf") / "a.tiaf"
    tiaf = packed(level, n_channels, twice)
    write_tiaf(path, tiaf)
    back = read_tiaf(path)
    for name in ("bpm", "sample_rate", "n_samples", "n_beats", "grid_beats_per_beat"):
        assert getattr(back, name) == getattr(tiaf, name)
    loudest = np.abs(tiaf.beats).max()
    for part, again in ((tiaf.beats, back.beats), (tiaf.edges, back.edges)):
        assert again.dtype == np.float32
        assert np.abs(part - again).max() <= loudest * 2**-23  # 24 bits, wherever full scale is
    before = path.read_bytes()
    write_tiaf(path, back)
    assert path.read_bytes() == before  # writing what was read changes nothing


def test_silence(tmp_path):
    tiaf = Tiaf(np.zeros((1, SAMPLES_PER_BEAT, 1), np.float32), 120, 44_100, 22_050)
    write_tiaf(tmp_path / "a.tiaf", tiaf)
    back = read_tiaf(tmp_path / "a.tiaf")
    assert not back.beats.any() and back.edges is None


def test_any_player_plays_it_at_60_bpm(tmp_path):
    write_tiaf(tmp_path / "a.tiaf", packed())
    samples, rate = soundfile.read(tmp_path / "a.tiaf")
    assert rate == 40_000 and len(samples) % 40_000 == 0
    with soundfile.SoundFile(tmp_path / "a.tiaf") as file:
        header = json.loads(file.comment)
    assert header["format"] == "tiaf" and header["version"] == 1 and header["bpm"] == 133.3


def test_the_format_is_documented():
    """Every key of the header stands in the document that other readers are written from."""
    from pathlib import Path

    from melformer.audio.tiaf import _HEADER_TYPES

    document = (Path(__file__).parent.parent / "docs" / "reference" / "tiaf.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in document for key in _HEADER_TYPES)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("stopped")

    monkeypatch.setattr("melformer.audio.tiaf._to_levels", fail)
    with pytest.raises(RuntimeError):
        write_tiaf(tmp_path / "a.tiaf", packed())
    assert not list(tmp_path.iterdir())


def forge(path, change=None, text=None, rate=40_000, subtype="PCM_24", n_channels=1, n_samples=80_000, kind="FLAC"):
    """A file like a good .tiaf of two beats, with one thing wrong."""
    header = {
        "format": "tiaf", "version": 1, "samples_per_beat": 40_000, "n_beats": 2, "bpm": 120.0,
        "grid_beats_per_beat": 1, "sample_rate": 44_100, "n_samples": 44_100, "scale": 1.0, "edges": None,
    }  # fmt: skip
    header.update(change or {})
    header = {key: value for key, value in header.items() if value is not ...}
    with soundfile.SoundFile(path, "w", rate, n_channels, subtype, format=kind) as file:
        file.comment = json.dumps(header) if text is None else text
        file.write(np.zeros((n_samples, n_channels), np.int32))


def test_the_forger_can_make_a_good_one(tmp_path):
    forge(tmp_path / "a.tiaf", {"edges": base64.b64encode(bytes(2 * 1_024 * 3)).decode()})
    assert read_tiaf(tmp_path / "a.tiaf").edges.shape == (2, 1_024, 1)


HEADERS = {
    "other version": {"version": 2}, "version missing": {"version": ...}, "version true": {"version": True},
    "other format": {"format": "wav"}, "no format": {"format": ...},
    "other grid": {"samples_per_beat": 48_000}, "more beats": {"n_beats": 3}, "no beats": {"n_beats": 0},
    "minus beats": {"n_beats": -2}, "a billion beats": {"n_beats": 10**9}, "beats as text": {"n_beats": "2"},
    "beats as float": {"n_beats": 2.0}, "beats beyond int64": {"n_beats": 10**30},
    "bpm 0": {"bpm": 0}, "bpm text": {"bpm": "120"}, "bpm nan": {"bpm": float("nan")}, "bpm null": {"bpm": None},
    "bpm huge": {"bpm": 10**400}, "rate 1": {"sample_rate": 1}, "rate huge": {"sample_rate": 2**40},
    "length 0": {"n_samples": 0}, "length too long": {"n_samples": 10**12}, "length short": {"n_samples": 10},
    "scale 0": {"scale": 0}, "scale 3": {"scale": 3.0}, "scale inf": {"scale": float("inf")},
    "scale minus": {"scale": -1}, "scale tiny": {"scale": 2.0**-200}, "scale huge int": {"scale": 2**5_000},
    "triple time": {"grid_beats_per_beat": 3},
    "edges text": {"edges": "!!!"}, "edges short": {"edges": "AAAA"}, "edges list": {"edges": [0]},
    "edges accents": {"edges": "é"},
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_a_wrong_header_is_named(tmp_path, kind):
    path = tmp_path / "loop.tiaf"
    forge(path, HEADERS[kind])
    with pytest.raises(TiafError, match=r"loop\.tiaf"):
        read_tiaf(path)


@pytest.mark.parametrize(
    "text", [" ", "hello", "[]", "{}", "null", "[" * 50_000, '{"format": "tiaf"', '"' + "x" * 70_000 + '"', "9" * 6_000]
)
def test_a_comment_that_is_no_header_is_named(tmp_path, text):
    path = tmp_path / "loop.tiaf"
    forge(path, text=text)
    with pytest.raises(TiafError, match="header"):
        read_tiaf(path)


@pytest.mark.parametrize(
    "form",
    [{"rate": 44_100}, {"subtype": "PCM_16"}, {"n_channels": 3}, {"n_samples": 79_999}, {"n_samples": 120_000},
     {"n_samples": 0}, {"kind": "WAV"}],
)  # fmt: skip
def test_another_kind_of_file_is_named(tmp_path, form):
    path = tmp_path / "loop.tiaf"
    forge(path, **form)
    with pytest.raises(TiafError, match=r"loop\.tiaf"):
        read_tiaf(path)


@pytest.mark.parametrize("content", [b"", b"fLaC", b"fLaC" + bytes(100), b"text", bytes(1_000)])
def test_rubbish_is_named(tmp_path, content):
    path = tmp_path / "loop.tiaf"
    path.write_bytes(content)
    with pytest.raises(TiafError, match=r"loop\.tiaf"):
        read_tiaf(path)
    with pytest.raises(TiafError):
        read_tiaf(tmp_path / "missing.tiaf")


def test_a_cut_file_is_named(tmp_path):
    write_tiaf(tmp_path / "whole.tiaf", packed())
    data = (tmp_path / "whole.tiaf").read_bytes()
    for n_bytes in range(10, len(data) - 1, len(data) // 20):
        (tmp_path / "cut.tiaf").write_bytes(data[:n_bytes])
        with pytest.raises(TiafError, match=r"cut\.tiaf"):
            read_tiaf(tmp_path / "cut.tiaf")
