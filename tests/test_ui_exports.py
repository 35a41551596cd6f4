"""Files to take away: names, formats, exact samples, closed seams."""

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from page_double import Model, loop_samples

from melformer.audio.io import read_bpm_tag, write_waveform
from melformer.audio.sniff import chunks
from melformer.audio.tiaf import read_tiaf
from melformer.errors import RequestError
from melformer.ui.host.limits import Limits
from melformer.ui.session.session import Session
from melformer.ui.session.sessions import Sessions
from melformer.ui.takes.exports import export_all, export_take, part_of
from melformer.ui.wire import pcm16


@pytest.fixture
def session(tmp_path: Path) -> Session:
    path = tmp_path / "My groove 92.5bpm.wav"
    write_waveform(path, loop_samples(4, 92.5, rate=48_000))
    sessions = Sessions(Model(compute_s=0.0), Limits(), tmp_path / "sessions")
    session = sessions.find(sessions.create(paced=False))
    session.load(path)
    list(session.runs.play({"n_beats": 8, "seed": 7}))
    return session


@pytest.mark.parametrize(("kind", "bits"), [("wav", "PCM_16"), ("wav24", "PCM_24"), ("flac", "PCM_16")])
def test_audio_has_the_name_rate_and_tempo_of_the_loop(session: Session, tmp_path: Path, kind: str, bits: str) -> None:
    path = export_take(session.need_take(1), tmp_path / "out", kind)
    assert path.stem == "My groove_92.5bpm_12beats_seed7"
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (48_000, 2, bits)
    assert info.frames == round(12 * 60 * 48_000 / 92.5)
    assert read_bpm_tag(path) == pytest.approx(92.5, abs=0.01)


def test_sixteen_bits_are_those_the_browser_plays(session: Session, tmp_path: Path) -> None:
    take = session.need_take(1)
    written = soundfile.read(export_take(take, tmp_path / "out"), dtype="int16")[0]
    assert np.array_equal(written, pcm16(take.whole().samples))
    assert np.array_equal(pcm16(np.array([[2.0], [-2.0]], np.float32)), [[32767], [-32768]])


@pytest.mark.parametrize(("part", "loop_from", "new_from"), [("whole", 4, 4), ("whole-looped", 0, 4), ("new", 0, 0)])
def test_a_daw_finds_the_new_part_and_the_loop(
    session: Session, tmp_path: Path, part: str, loop_from: int, new_from: int
) -> None:
    path = export_take(session.need_take(1), tmp_path / "out", "wav", part)
    data = path.read_bytes()
    assert struct.unpack_from("<I", data, 4) == (len(data) - 8,)
    with path.open("rb") as file:
        found = {name: data[start : start + length] for name, start, length in chunks(file)}
    edges = session.need_take(1).loop.edges(8)
    n_samples = soundfile.info(path).frames
    *_, first, last, _, times = struct.unpack("<15I", found[b"smpl"])
    assert (first, last, times) == (edges[loop_from], n_samples - 1, 0)
    cues = [struct.unpack_from("<II4sIII", found[b"cue "], 4 + 24 * k) for k in range(found[b"cue "][0])]
    assert cues[-1][5] == edges[new_from]
    assert b"new part\0" in found[b"LIST"]
    assert read_bpm_tag(path) == pytest.approx(92.5, abs=0.01)


def test_only_the_new_part(session: Session, tmp_path: Path) -> None:
    path = export_take(session.need_take(1), tmp_path / "out", "flac", "new")
    assert path.name == "My groove_92.5bpm_8beats_seed7_new.flac"
    samples = soundfile.read(path, dtype="float32")[0]
    assert np.array_equal(samples, soundfile.read(export_take(session.need_take(1), tmp_path))[0][-len(samples) :])


@pytest.mark.parametrize("part", ["whole", "new"])
def test_a_closed_seam_has_no_jump_and_the_same_length(session: Session, part: str) -> None:
    take = session.need_take(1)
    plain, closed = part_of(take, part).samples, part_of(take, f"{part}-looped").samples
    assert plain.shape == closed.shape
    n = round(0.03 * 48_000)
    assert np.array_equal(plain[:-n], closed[:-n])
    before = take.before_new(n) if part == "new" else take.loop.prompt.waveform.samples[-n:]
    assert np.abs(closed[-1] - before[-1]).max() < 0.01  # what precedes the start of the file where it plays


def test_tiaf_keeps_the_length(session: Session, tmp_path: Path) -> None:
    path = export_take(session.need_take(1), tmp_path / "out", "tiaf")
    assert read_tiaf(path).to_waveform().n_samples == round(12 * 60 * 48_000 / 92.5)


def test_a_zip_holds_every_take_and_its_seed(session: Session, tmp_path: Path) -> None:
    list(session.runs.play({"n_beats": 2, "seed": 8}))
    path = export_all(list(session.takes.values()), tmp_path / "out")
    with zipfile.ZipFile(path) as archive:
        notes = json.loads(archive.read("takes.json"))
        assert [note["seed"] for note in notes] == [7, 8]
        assert set(archive.namelist()) == {"takes.json", *(note["file"] for note in notes)}
        assert archive.testzip() is None


@pytest.mark.parametrize(("kind", "part"), [("mp3", "whole"), ("wav", "half"), ("../x", "whole")])
def test_unknown_kinds_leave_nothing_behind(session: Session, tmp_path: Path, kind: str, part: str) -> None:
    with pytest.raises(RequestError):
        export_take(session.need_take(1), tmp_path / "out", kind, part)
    assert not list((tmp_path / "out").glob("*"))
