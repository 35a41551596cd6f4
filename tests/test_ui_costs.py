"""What loops, stems and answers of hostile size cost: memory, disk, and bytes that are sent."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from page_double import Model, loop_samples
from page_sessions import files, make, visitor, write_loop

from melformer.audio.io import write_waveform
from melformer.errors import AudioError, RequestError
from melformer.ui.host.limits import Limits
from melformer.ui.session.sessions import Sessions
from melformer.ui.session.stem_jobs import PcmStems
from melformer.ui.takes.spool import files_of, maps_of
from melformer.ui.takes.take import MAX_ANSWER_BYTES
from melformer.ui.takes.take_store import UNDO_STEPS


@pytest.fixture
def loop_path(tmp_path: Path) -> Path:
    return write_loop(tmp_path)


def test_a_long_track_costs_no_more_than_what_is_used_of_it(tmp_path: Path) -> None:
    """A FLAC of a few hundred kilobytes, two minutes at 192 kHz: 92 MB of samples."""
    path = tmp_path / "long_120bpm.flac"
    with soundfile.SoundFile(path, "w", 192_000, 1, "PCM_16") as file:
        second = np.zeros(192_000, np.float32)
        second[::96_000] = 0.5
        for _ in range(120):
            file.write(second)
    assert path.stat().st_size < 3e6
    session = visitor(make(tmp_path, prompt_values=2_000_000), path)
    loop = session.need_loop()
    assert loop.raw.samples.size <= 2_000_000
    assert loop.messages[0] == "Using the first 10 s of 120 s."


def test_loops_lie_on_disk_and_not_in_memory(tmp_path: Path, loop_path: Path) -> None:
    """Also those that undo leads back to; one budget is for all sessions, and what a step back needs stays."""
    sessions = make(tmp_path, memory_mb=20)
    visitors = [visitor(sessions, loop_path) for _ in range(4)]
    for session in visitors:
        for k in range(UNDO_STEPS + 3):
            session.retime(141.0 + k, 4)
        loop = session.need_loop()
        assert len(maps_of(loop)) >= 2 and files_of(loop) <= set(session.folder.iterdir())
        assert files(session, "*.pcm16") == UNDO_STEPS + 1
        assert files(session, "array-*.raw") <= 2 * (UNDO_STEPS + 1)
    assert sessions.host.spool.resident_bytes() <= 20e6
    for k in range(UNDO_STEPS):
        visitors[0].undo()
        assert visitors[0].need_loop().prompt.bpm == 141.0 + UNDO_STEPS + 1 - k
        assert visitors[0].need_loop().prompt.waveform.samples.std() > 0.01
    with pytest.raises(RequestError, match="nothing to undo"):
        visitors[0].undo()


def test_more_channels_than_a_page_plays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "eight_120bpm.flac"
    soundfile.write(path, np.zeros((96_000, 8), np.float32), 96_000)
    with pytest.raises(AudioError, match=r"8 channels at 96,000 Hz.*stereo"):
        visitor(make(tmp_path), path)


def test_loops_count_as_a_sessions_disk(tmp_path: Path, loop_path: Path) -> None:
    """A loop of 3.4 s has 1.2 MB, and half as much again for the browser."""
    session = visitor(make(tmp_path, session_mb=50), loop_path)
    (session.folder / "tape0.f32").write_bytes(bytes(50_000_000))
    for change in (lambda: session.load(loop_path), lambda: session.retime(120.0, 4), lambda: session.crop(0, 4)):
        with pytest.raises(RequestError, match="the limit is 50 MB"):
            change()


def test_the_disk_of_all_is_asked_too(tmp_path: Path, loop_path: Path) -> None:
    def full() -> None:
        raise RequestError("No room is left.")

    sessions = Sessions(Model(), Limits(), tmp_path / "sessions", check_room=full)
    session = visitor(sessions)
    with pytest.raises(RequestError, match="No room"):
        session.load(loop_path)


def test_stems_lie_on_disk_and_are_found_once(tmp_path: Path, loop_path: Path) -> None:
    """Also a visitor who listens leaves nothing in memory: neither stems, nor what the model notes on a prompt."""
    sessions = make(tmp_path, memory_mb=20)
    separated: list[Any] = []
    separate = sessions.host.model.stems
    sessions.host.model.stems = lambda loop: separated.append(loop) or separate(loop)
    session = visitor(sessions, loop_path)
    for seed in range(2):
        list(session.runs.play({"n_beats": 2, "seed": seed}))
    assert isinstance(session.stems_of(None, wait_s=10.0), PcmStems)
    prompt, found = session.need_loop().prompt, sessions.host.separated.of(session.need_loop())
    assert len(separated) == 1 and separated[0] is not prompt
    assert not {id(stream.prompt) for stream in sessions.host.model.streams} & {id(prompt)}
    stems = (found.drums, found.bass, found.other)
    assert len(files_of(stems)) == 3 and files_of(stems) <= set(session.folder.iterdir())
    held = sum(array.nbytes for array in maps_of((session.need_loop(), stems)))
    assert sessions.host.spool.resident_bytes() == held <= 20e6
    session.store.drop_all()
    assert files(session, "array-*.raw") == 0


def test_stems_wait_without_taking_memory_and_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound is read when its turn comes; more than a few in the line are asked to come back; old ones go by bytes."""
    from melformer.ui.session import stem_jobs

    monkeypatch.setattr(stem_jobs, "KEPT_BYTES", 1_000_000)
    jobs, read, leave = stem_jobs.StemJobs(), [], threading.Event()

    def loop(name: str) -> Any:
        def make() -> stem_jobs.PcmStems:
            read.append(name)
            leave.wait(10)
            samples = loop_samples(4, 120.0)  # 88,200 samples of 2 channels: 1 MB with drums and bass
            return stem_jobs.PcmStems.of(samples, Model().stems(samples), ("drums", "bass"))

        return make

    for name in "abcdefgh":
        assert jobs.wait(name, loop(name), wait_s=0.0) is False
    assert read == ["a"]
    leave.set()
    for name in "abcd":
        assert jobs.wait(name, loop(name), wait_s=10.0)
    assert read == ["a", "b", "c", "d"]
    assert jobs.wait("e", loop("e"), wait_s=10.0) and len(jobs._jobs) <= 2
    jobs.close()


def test_stems_of_a_loop_are_files(tmp_path: Path, loop_path: Path) -> None:
    session = visitor(make(tmp_path), loop_path)
    for _ in range(10):
        answer = session.stems({})
        assert len(json.dumps(answer)) < 1_000
    assert files(session, "stems-*") <= 10
    samples = np.fromfile(answer["drums"], "<i2")
    assert len(samples) == session.need_loop().prompt.waveform.samples.size


def test_answers_are_bounded(tmp_path: Path) -> None:
    """At the slowest tempo and the highest rate: the loop is a file, its beats come a few at a time."""
    path = tmp_path / "slow_40bpm.flac"
    write_waveform(path, loop_samples(8, 40.0, rate=192_000))
    session = visitor(make(tmp_path), path)
    loop = session.loop_view(session.view()["loop_key"])
    assert len(json.dumps(loop)) < 200_000
    pcm = np.fromfile(loop["pcm_path"], "<i2").reshape(-1, 2)
    assert len(pcm) == session.need_loop().prompt.waveform.n_samples
    list(session.runs.play({"n_beats": 6}))
    first, last = 0, 6
    while first < last:
        beats = session.need_take(1).packed(first, last)
        assert len(json.dumps(beats)) < 2 * MAX_ANSWER_BYTES + 100_000
        assert [beat["beat"] for beat in beats] == list(range(first, first + len(beats)))
        first += len(beats)
    assert first == 6
