"""Who waits for whom: loading, separating and several takes beside streams, and when the page ends."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_sessions import files, make, visitor, write_loop

from melformer.errors import RequestError
from melformer.ui.actions import Actions
from melformer.ui.session.session import Session
from melformer.ui.takes.take_store import UNDO_STEPS


@pytest.fixture
def loop_path(tmp_path: Path) -> Path:
    return write_loop(tmp_path)


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
    thread = threading.Thread(target=lambda: list(session.runs.play({"n_beats": 2})))
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
    list(session.runs.choose({"n_beats": 16, "n_takes": 2, "seed": 1}))
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


def choose(session: Session, **request: Any) -> Iterator[dict[str, Any]]:
    return session.runs.choose({"n_beats": 8, "seed": 7, "n_takes": 4, **request})


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
        session.runs.stop()
        *_, end = messages
        assert (end["reason"], len(end["takes"])) == ("chosen", 4)
    assert session.scheduler.n_playing == 0 and not session.runs.is_running
    assert session.model.streams[0].n_made <= 4
    if not leave:
        assert [take["n_beats"] for take in session.view()["takes"]] == [3] * 4


def test_a_new_stream_stops_the_takes_in_the_making(tmp_path: Path, loop_path: Path) -> None:
    session = visitor(make(tmp_path, compute_s=0.005), loop_path)
    ends: list[Any] = []
    thread = threading.Thread(target=lambda: ends.extend(choose(session, n_beats=250)))
    thread.start()
    while not session.runs.is_running:
        time.sleep(0.001)
    assert list(session.runs.play({"n_beats": 2}))[-1]["reason"] == "done"
    thread.join(20)
    assert ends[-1]["kind"] == "end" and session.model.streams[0].n_made < 250


def test_several_takes_have_the_limits_of_one(tmp_path: Path, loop_path: Path) -> None:
    """In disk, in length, in number; and old ones are swept."""
    session = visitor(make(tmp_path, session_mb=50, take_mb=10, kept_takes=6), loop_path)
    with pytest.raises(RequestError, match=r"from 1 to 4"):
        next(choose(session, n_takes=5))
    beat_mb = 60 / 140 * 44_100 * 2 * 4 / 1e6
    most = int(10 / (4 * beat_mb))
    with pytest.raises(RequestError, match=rf"limit is 10 MB. .* at most {most} beats or fewer takes"):
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
        next(session.runs.play({"n_beats": most + 1}))
    end = list(session.runs.play({"n_beats": None}))[-1]
    assert (end["reason"], session.need_take(1).n_beats) == ("rest", most + 1)
    with pytest.raises(RequestError, match="limit is 10 MB"):
        next(session.runs.play({"n_beats": 1, "keep": 1}))


def test_a_page_that_ends_begins_nothing(tmp_path: Path, loop_path: Path) -> None:
    """The stream that plays ends behind its beat and keeps its take; whoever waits or comes is told to come back."""
    sessions = make(tmp_path, compute_s=0.01)
    actions = Actions(sessions, [loop_path], loop_path.parent)
    first, second = (visitor(sessions, loop_path) for _ in range(2))
    playing = first.runs.play({"n_beats": None})
    assert [next(playing)["kind"] for _ in range(2)] == ["start", "beat"]
    sessions.scheduler.max_players = 1
    waiting = second.runs.play({"n_beats": 4})
    assert next(waiting)["kind"] == "waiting"
    token = next(token for token, (session, _) in sessions._sessions.items() if session is first)
    sessions.stop()
    assert next(playing)["kind"] == "end" and len(first.takes) == 1
    assert [message["kind"] for message in waiting] == ["end"] and second.takes == {}
    with pytest.raises(RequestError, match="try again in a minute"):
        next(second.runs.play({"n_beats": 4}))
    assert "try again in a minute" in actions.call({"do": "explain", "token": token})["error"]
    sessions.close()
