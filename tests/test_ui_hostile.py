"""Sessions at hostile sizes: what loops, takes and answers cost, and who has to make way."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from page_double import Model, loop_samples

from melformer.audio.io import write_waveform
from melformer.errors import AudioError, RequestError
from melformer.ui.actions import Actions
from melformer.ui.limits import Limits
from melformer.ui.session import MAX_ANSWER_BYTES, Session
from melformer.ui.sessions import Sessions
from melformer.ui.spool import files_of, maps_of
from melformer.ui.stem_jobs import PcmStems
from melformer.ui.take_store import UNDO_STEPS


@pytest.fixture
def loop_path(tmp_path: Path) -> Path:
    path = tmp_path / "uploads" / "click_140bpm.wav"
    write_waveform(path, loop_samples(8, 140.0))
    return path


def make(folder: Path, compute_s: float = 0.0, **limits: Any) -> Sessions:
    return Sessions(Model(compute_s=compute_s), Limits(**limits), folder / "sessions")


def visitor(sessions: Sessions, path: Path | None = None) -> Session:
    session = sessions.find(sessions.create(paced=False))
    if path is not None:
        session.load(path)
    return session


def files(session: Session, pattern: str) -> int:
    return len(list(session.folder.glob(pattern)))


# What an upload costs


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
        list(session.play({"n_beats": 2, "seed": seed}))
    assert isinstance(session.stems_of(None, wait_s=10.0), PcmStems)
    prompt = session.need_loop().prompt
    assert len(separated) == 1 and separated[0] is not prompt
    assert not {id(stream.prompt) for stream in sessions.host.model.streams} & {id(prompt)}
    stems = (prompt.stems.drums, prompt.stems.bass, prompt.stems.other)
    assert len(files_of(stems)) == 3 and files_of(stems) <= set(session.folder.iterdir())
    held = sum(array.nbytes for array in maps_of(session.need_loop()))
    assert sessions.host.spool.resident_bytes() == held <= 20e6
    session.store.drop_all()
    assert files(session, "array-*.raw") == 0


# When the page ends


def test_a_page_that_ends_begins_nothing(tmp_path: Path, loop_path: Path) -> None:
    """The stream that plays ends behind its beat and keeps its take; whoever waits or comes is told to come back."""
    sessions = make(tmp_path, compute_s=0.01)
    actions = Actions(sessions, [loop_path], loop_path.parent)
    first, second = (visitor(sessions, loop_path) for _ in range(2))
    playing = first.play({"n_beats": None})
    assert [next(playing)["kind"] for _ in range(2)] == ["start", "beat"]
    sessions.scheduler.max_players = 1
    waiting = second.play({"n_beats": 4})
    assert next(waiting)["kind"] == "waiting"
    token = next(token for token, (session, _) in sessions._sessions.items() if session is first)
    sessions.stop()
    assert next(playing)["kind"] == "end" and len(first.takes) == 1
    assert [message["kind"] for message in waiting] == ["end"] and second.takes == {}
    with pytest.raises(RequestError, match="try again in a minute"):
        next(second.play({"n_beats": 4}))
    assert "try again in a minute" in actions.call({"do": "explain", "token": token})["error"]
    sessions.close()


# Who waits for whom


def test_separating_waits_for_no_beat(tmp_path: Path, loop_path: Path) -> None:
    """While a loop is separated for a stream, somebody else's beats are made."""
    sessions = make(tmp_path)
    separating, may_end = threading.Event(), threading.Event()
    separate = sessions.host.model.stems

    def slowly(loop: Any) -> Any:
        separating.set()
        may_end.wait(20.0)
        return separate(loop)

    session = visitor(sessions, loop_path)
    sessions.host.model.stems = slowly
    thread = threading.Thread(target=lambda: list(session.play({"n_beats": 2})))
    thread.start()
    had_a_turn = threading.Event()

    def take_a_turn() -> None:
        with sessions.scheduler.turn():
            had_a_turn.set()

    try:
        assert separating.wait(20.0)
        threading.Thread(target=take_a_turn).start()
        assert had_a_turn.wait(10.0)
    finally:
        may_end.set()
    thread.join(20.0)
    assert len(session.takes) == 1


def test_a_take_is_made_again_in_turns(tmp_path: Path, loop_path: Path) -> None:
    """One of several takes has no saved state: before it goes on its beats are made again, but not all in one turn."""
    sessions = make(tmp_path)
    session = visitor(sessions, loop_path)
    list(session.choose({"n_beats": 16, "n_takes": 2, "seed": 1}))
    turns: list[None] = []
    turn = sessions.scheduler.turn
    sessions.scheduler.turn = lambda: turns.append(None) or turn()
    state = session.composing.state_of(session.need_take(1))
    assert state.index == 16 and len(turns) == 16


def test_loading_waits_for_no_beat(tmp_path: Path, loop_path: Path) -> None:
    """While somebody else has the model, a loop is read, cut, set to another tempo and exported."""
    sessions = make(tmp_path)
    actions = Actions(sessions, [loop_path], loop_path.parent)
    token = actions.call({"do": "hello"})["ok"]["token"]
    asks = [{"do": "load", "path": str(loop_path)}, {"do": "example", "name": loop_path.name},
            {"do": "retime", "bpm": 120}, {"do": "crop", "first": 0, "last": 4}, {"do": "explain"},
            {"do": "decode", "n_codebooks": 1}]  # fmt: skip
    answers: list[Any] = []
    with sessions.scheduler.turn():
        thread = threading.Thread(target=lambda: answers.extend(actions.call({**ask, "token": token}) for ask in asks))
        thread.start()
        thread.join(20)
    assert [set(answer) for answer in answers] == [{"ok"}] * len(asks)


def test_costly_calls_wait_in_a_line_that_is_bounded(tmp_path: Path, loop_path: Path) -> None:
    """Cheap ones do not: who listens can always stop."""
    sessions = make(tmp_path, work=2)
    actions = Actions(sessions, [loop_path], loop_path.parent)
    tokens = [actions.call({"do": "hello"})["ok"]["token"] for _ in range(6)]
    answers: list[Any] = []

    def load(token: str) -> None:
        answers.append(actions.call({"do": "example", "token": token, "name": loop_path.name}))

    with sessions.work.turn():
        threads = [threading.Thread(target=load, args=(token,)) for token in tokens]
        for thread in threads:
            thread.start()
        while len(answers) < 4:
            time.sleep(0.001)
        for cheap in ("view", "stop", "undo"):
            assert actions.call({"do": cheap, "token": tokens[0]})
    for thread in threads:
        thread.join(20)
    refused = [answer["error"] for answer in answers if "error" in answer]
    assert len(refused) == 4 and all("Please try again in" in words and "seconds" in words for words in refused)


# Several takes at once


def choose(session: Session, **request: Any) -> Iterator[dict[str, Any]]:
    return session.choose({"n_beats": 8, "seed": 7, "n_takes": 4, **request})


def test_several_takes_are_made_beat_by_beat(tmp_path: Path, loop_path: Path) -> None:
    """So that others get their turns in between, and a visitor who has left is noticed."""
    session = visitor(make(tmp_path), loop_path)
    kinds = [message["kind"] for message in choose(session)]
    assert kinds == ["making"] * 9 + ["end"]


@pytest.mark.parametrize("leave", [False, True])
def test_several_takes_can_be_stopped(tmp_path: Path, loop_path: Path, leave: bool) -> None:
    """What was made until then is kept; who leaves frees the machine."""
    session = visitor(make(tmp_path), loop_path)
    messages = choose(session, n_beats=200)
    for _ in range(4):
        next(messages)
    if leave:
        messages.close()
    else:
        session.stop()
        *_, end = messages
        assert (end["reason"], len(end["takes"])) == ("chosen", 4)
    assert session.scheduler.n_playing == 0 and not session.is_running
    assert session.model.streams[0].n_made <= 4
    if not leave:
        assert [take["n_beats"] for take in session.view()["takes"]] == [3] * 4


def test_a_new_stream_stops_the_takes_in_the_making(tmp_path: Path, loop_path: Path) -> None:
    session = visitor(make(tmp_path, compute_s=0.005), loop_path)
    ends: list[Any] = []
    thread = threading.Thread(target=lambda: ends.extend(choose(session, n_beats=250)))
    thread.start()
    while not session.is_running:
        time.sleep(0.001)
    assert list(session.play({"n_beats": 2}))[-1]["reason"] == "done"
    thread.join(20)
    assert ends[-1]["kind"] == "end" and session.model.streams[0].n_made < 250


def test_several_takes_have_the_limits_of_one(tmp_path: Path, loop_path: Path) -> None:
    """In disk, in length, in number; and old ones are swept."""
    session = visitor(make(tmp_path, session_mb=50, take_mb=10, kept_takes=6), loop_path)
    with pytest.raises(RequestError, match=r"from 1 to 4"):
        next(choose(session, n_takes=5))
    beat_mb = 60 / 140 * 44_100 * 2 * 4 / 1e6
    most = int(10 / (4 * beat_mb))
    with pytest.raises(RequestError, match=rf"at most 10 MB .* at most {most} beats or fewer takes"):
        next(choose(session, n_beats=most + 1))
    for seed in range(16):
        list(choose(session, n_beats=1, n_takes=4, seed=10 * seed))
    assert len(session.takes) == 6
    assert files(session, "tape*.f32") <= 6 * (UNDO_STEPS + 1)
    (session.folder / "tape0.f32").write_bytes(bytes(50_000_000))
    with pytest.raises(RequestError, match="the limit is 50 MB"):
        next(choose(session))


def test_a_take_has_a_size(tmp_path: Path, loop_path: Path) -> None:
    session = visitor(make(tmp_path, take_mb=10, beats=512), loop_path)
    beat_mb = 60 / 140 * 44_100 * 2 * 4 / 1e6
    most = int(10 / beat_mb)
    with pytest.raises(RequestError, match=f"at most {most} beats"):
        next(session.play({"n_beats": most + 1}))
    end = list(session.play({"n_beats": None}))[-1]
    assert (end["reason"], session.need_take(1).n_beats) == ("rest", most + 1)
    with pytest.raises(RequestError, match="at most 10 MB"):
        next(session.play({"n_beats": 1, "keep": 1}))


# What an answer may hold


def test_answers_are_bounded(tmp_path: Path) -> None:
    """At the slowest tempo and the highest rate: the loop is a file, its beats come a few at a time."""
    path = tmp_path / "slow_40bpm.flac"
    write_waveform(path, loop_samples(8, 40.0, rate=192_000))
    session = visitor(make(tmp_path), path)
    loop = session.loop_view(session.view()["loop_key"])
    assert len(json.dumps(loop)) < 200_000
    pcm = np.fromfile(loop["pcm_path"], "<i2").reshape(-1, 2)
    assert len(pcm) == session.need_loop().prompt.waveform.n_samples
    list(session.play({"n_beats": 6}))
    first, last = 0, 6
    while first < last:
        beats = session.beats(1, first, last)
        assert len(json.dumps(beats)) < 2 * MAX_ANSWER_BYTES + 100_000
        assert [beat["beat"] for beat in beats] == list(range(first, first + len(beats)))
        first += len(beats)
    assert first == 6


# Who goes when the house is full


def test_who_has_nothing_goes_before_who_has_a_loop(tmp_path: Path, loop_path: Path) -> None:
    """64 who only say hello do not clear the desks of those who work."""
    sessions = make(tmp_path, sessions=4)
    token = sessions.create()
    sessions.find(token).load(loop_path)
    greeted = [sessions.create() for _ in range(64)]
    assert sessions.find(token).loop is not None and len(sessions) == 4
    for gone in greeted[:-3]:
        with pytest.raises(RequestError, match="Session expired"):
            sessions.find(gone)


def test_who_visits_for_one_request_makes_way_for_nobody(tmp_path: Path) -> None:
    """Nothing is loaded yet: from its first moment on the request is being answered."""
    sessions = make(tmp_path, sessions=2)
    with sessions.visit() as one, sessions.visit():
        for _ in range(3):
            with pytest.raises(RequestError, match=r"All 2 places .* again in a minute"):
                sessions.create()
        assert one.is_busy and one.folder.parent.exists() and len(sessions) == 2
    assert len(sessions) == 0
    assert sessions.find(sessions.create()).is_empty


def test_who_plays_is_spared(tmp_path: Path, loop_path: Path) -> None:
    """Even where everybody else has a loop and came later."""
    sessions = make(tmp_path, sessions=3)
    token = sessions.create(paced=False)
    player = sessions.find(token)
    player.load(loop_path)
    stream = player.play({"n_beats": None})
    next(stream)
    for _ in range(6):
        visitor(sessions, loop_path)
    assert sessions.find(token) is player
    with ExitStack() as calls:
        for _ in range(2):
            calls.enter_context(visitor(sessions).in_use())  # a call that is being answered
        with pytest.raises(RequestError, match=r"All 3 places .* again in a minute"):
            sessions.create()
    assert sessions.find(token) is player
    stream.close()


def test_files_of_the_api_are_removed_when_their_time_is_over(tmp_path: Path, loop_path: Path) -> None:
    """By the sweep alone, also where no other request comes."""
    now = [0.0]
    sessions = Sessions(Model(compute_s=0.0), Limits(session_minutes=30), tmp_path / "s", clock=lambda: now[0])
    token = sessions.create(paced=False)
    session = sessions.find(token)
    session.load(loop_path)
    (session.folder / "made.wav").write_bytes(bytes(100))
    sessions.forget(token, keep_files=True)
    assert [path.name for path in session.folder.iterdir()] == ["made.wav"]
    now[0] = 29 * 60.0
    sessions.sweep()
    assert session.folder.exists()
    now[0] = 31 * 60.0
    sessions.sweep()
    assert list((tmp_path / "s").iterdir()) == []


def test_an_unused_session_is_forgotten_without_another_request(tmp_path: Path) -> None:
    now = [0.0]
    sessions = Sessions(Model(), Limits(session_minutes=30), tmp_path / "s", clock=lambda: now[0])
    sessions.create()
    now[0] = 31 * 60.0
    sessions.sweep()
    assert len(sessions) == 0 and list((tmp_path / "s").iterdir()) == []


def test_files_of_the_api_make_room_for_newer_ones(tmp_path: Path) -> None:
    """All together have a limit: the oldest goes first, never one that was only just made."""
    now = [0.0]
    sessions = Sessions(Model(), Limits(files_mb=50), tmp_path / "s", clock=lambda: now[0])
    folders = []
    for _ in range(4):
        token = sessions.create(paced=False)
        session = sessions.find(token)
        (session.folder / "made.wav").write_bytes(bytes(20_000_000))
        sessions.forget(token, keep_files=True)
        folders.append(session.folder)
        now[0] += 100.0
        sessions.sweep()
    assert [folder.exists() for folder in folders] == [False, False, True, True]


@pytest.mark.parametrize("data", [3, "play", [1, 2], None, {"token": []}, {"run": object()}])
def test_an_event_of_another_type_is_a_sentence(tmp_path: Path, data: Any, caplog: pytest.LogCaptureFixture) -> None:
    from melformer.ui.app import _streaming

    messages = _streaming(make(tmp_path), SimpleNamespace(bounded=None), Session.play)  # type: ignore[arg-type]
    (message,) = messages(SimpleNamespace(_data=data), SimpleNamespace(session_hash="a"))
    assert message["kind"] == "error" and message["message"].startswith("Session expired")
    assert caplog.records == []


# Stems


def test_stems_wait_without_taking_memory_and_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound is read when its turn comes; more than a few in the line are asked to come back; old ones go by bytes."""
    from melformer.ui import stem_jobs

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
