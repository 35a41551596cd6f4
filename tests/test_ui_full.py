"""Who makes way when the server is full, and what is forgotten when."""

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from page_double import Model
from page_sessions import make, visitor, write_loop

from melformer.errors import RequestError
from melformer.ui.host.limits import Limits
from melformer.ui.session.runs import Runs
from melformer.ui.session.sessions import Sessions


@pytest.fixture
def loop_path(tmp_path: Path) -> Path:
    return write_loop(tmp_path)


def test_who_has_nothing_goes_before_who_has_a_loop(tmp_path: Path, loop_path: Path) -> None:
    """64 who only say hello do not push out those who work."""
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
            with pytest.raises(RequestError, match=r"full \(2 sessions\).* again in a minute"):
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
    stream = player.runs.play({"n_beats": None})
    next(stream)
    for _ in range(6):
        visitor(sessions, loop_path)
    assert sessions.find(token) is player
    with ExitStack() as calls:
        for _ in range(2):
            calls.enter_context(visitor(sessions).in_use())  # a call that is being answered
        with pytest.raises(RequestError, match=r"full \(3 sessions\).* again in a minute"):
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

    messages = _streaming(make(tmp_path), SimpleNamespace(bounded=None), Runs.play)  # type: ignore[arg-type]
    (message,) = messages(SimpleNamespace(_data=data), SimpleNamespace(session_hash="a"))
    assert message["kind"] == "error" and message["message"].startswith("Session expired")
    assert caplog.records == []
