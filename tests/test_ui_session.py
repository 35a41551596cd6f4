"""A session without any page: takes, keeping going, undo, limits, and who sees what."""

import base64
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_double import Model, loop_samples

from melformer.audio.io import write_waveform
from melformer.errors import ConfigError, RequestError
from melformer.ui.actions import Actions
from melformer.ui.host.limits import Limits, limits_table
from melformer.ui.session.session import Session
from melformer.ui.session.sessions import Sessions
from melformer.ui.takes.take_store import UNDO_STEPS


@pytest.fixture
def loop_path(tmp_path: Path) -> Path:
    path = tmp_path / "uploads" / "click_140bpm.wav"
    write_waveform(path, loop_samples(8, 140.0))
    return path


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(Model(compute_s=0.0), Limits(), tmp_path / "sessions")


@pytest.fixture
def session(sessions: Sessions, loop_path: Path) -> Session:
    session = sessions.find(sessions.create(paced=False))
    session.load(loop_path)
    return session


def play(session: Session, **request: Any) -> list[dict[str, Any]]:
    return list(session.runs.play({"n_beats": 4, "seed": 7, **request}))


def sound(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(one["pcm"]) for one in messages if one["kind"] == "beat")


def test_the_loop_is_told_with_its_source(session: Session) -> None:
    loop = session.loop_view(session.view()["loop_key"])
    assert (loop["bpm"], loop["source"], loop["n_beats"]) == (140.0, "file name", 8)


def test_messages_come_in_order(session: Session) -> None:
    messages = play(session)
    assert [one["kind"] for one in messages] == ["start", "beat", "beat", "beat", "beat", "end"]
    assert [one["beat"] for one in messages[1:-1]] == [0, 1, 2, 3]
    assert messages[-1]["take"] == messages[0]["take"] == 1
    assert messages[1]["join"] is not None
    assert all(one["join"] is None for one in messages[2:-1])
    assert messages[-1]["reason"] == "done"


def test_the_whole_take_is_loop_join_and_beats(session: Session) -> None:
    play(session)
    take = session.need_take(1)
    whole, prompt = take.whole(), take.loop.prompt.waveform
    assert take.join is not None
    kept = prompt.n_samples - len(take.join)
    assert np.array_equal(whole.samples[:kept], prompt.samples[:kept])
    assert np.array_equal(whole.samples[kept : prompt.n_samples], take.join)
    assert whole.n_samples == round(12 * 60 * 44_100 / 140)


def test_keep_going_is_one_longer_take(session: Session) -> None:
    first = play(session, n_beats=3)
    second = play(session, n_beats=5, keep=1)
    other = play(session, n_beats=8)
    assert sound(first) + sound(second) == sound(other)
    assert [take["n_beats"] for take in session.view()["takes"]] == [8, 8]


def test_undo_then_keep_going_leaves_the_undone_beats_out(session: Session) -> None:
    play(session, n_beats=3)
    undone = play(session, n_beats=2, keep=1)
    session.undo()
    assert session.need_take(1).n_beats == 3
    again = play(session, n_beats=2, keep=1, variation=1.0)
    assert sound(again) != sound(undone)
    take = session.need_take(1)
    assert take.n_beats == 5
    assert len(take.codes) == 5
    edges = take.loop.edges(5)
    assert take.new().n_samples == edges[-1] - edges[8]


def test_another_seed_is_another_take_and_the_same_seed_the_same(session: Session) -> None:
    one, two, three = play(session), play(session, seed=8), play(session)
    assert sound(one) == sound(three) != sound(two)
    assert [take["number"] for take in session.view()["takes"]] == [1, 2, 3]


def test_several_takes_equal_takes_one_by_one(session: Session) -> None:
    *_, end = session.runs.choose({"n_beats": 4, "seed": 7, "n_takes": 2})
    assert end["takes"] == [2, 1]  # best first; the stand-in likes the last one best
    play(session)
    chosen, streamed = session.need_take(1), session.need_take(3)
    assert np.array_equal(chosen.whole().samples, streamed.whole().samples)
    assert np.array_equal(np.concatenate(chosen.codes), np.concatenate(streamed.codes))
    longer, other = play(session, keep=2, n_beats=2), play(session, seed=8, n_beats=6)
    assert sound(other).endswith(sound(longer))


def test_the_loop_is_closed_where_it_is_wished(session: Session) -> None:
    play(session)
    assert session.model.n_closed == 0
    play(session, close_loop=True)
    assert session.model.n_closed == 1 and session.takes[2].closed and not session.takes[1].closed
    list(session.runs.choose({"n_beats": 4, "seed": 1, "n_takes": 2, "close_loop": True}))
    assert session.model.n_closed == 3


@pytest.mark.parametrize("fields", [{"n_beats": None}, {"keep": 1}, {"close_loop": "yes"}])
def test_what_cannot_be_closed_is_refused(session: Session, fields: dict) -> None:
    play(session)
    with pytest.raises(RequestError, match=r"lo[os]"):
        play(session, **{"close_loop": True, **fields})
    assert len(session.takes) == 1


def test_knobs_take_effect_from_the_next_beat(session: Session) -> None:
    stream = session.runs.play({"n_beats": 6, "variation": 0.0})
    next(stream), next(stream)
    session.runs.steer({"variation": 1.0, "temperature": 0.5})
    rest = [one for one in stream if one["kind"] == "beat"]
    assert {(one["variation"], one["temperature"]) for one in rest} == {(1.0, 0.5)}


def test_a_stem_of_a_running_stream_is_drawn_anew_and_stays_so_when_extended(session: Session) -> None:
    stream = session.runs.play({"n_beats": 4})
    next(stream), next(stream)
    session.runs.steer({"redraw": "bass"})
    session.runs.steer({"redraw": "bass", "variation": 0.9})
    session.runs.steer({"variation": 0.8})  # other knobs leave it
    beats = [one for one in stream if one["kind"] == "beat"]
    assert {(tuple(one["draws"]), one["variation"]) for one in beats} == {((0, 2, 0), 0.8)}
    assert session.need_take(1).config.draws == (0, 2, 0)
    extended = play(session, n_beats=2, keep=1)
    assert [one["draws"] for one in extended if one["kind"] == "beat"] == [[0, 2, 0]] * 2
    anew = play(session, n_beats=1)
    assert [one["draws"] for one in anew if one["kind"] == "beat"] == [[0, 0, 0]]


@pytest.mark.parametrize(
    "data",
    [{"redraw": "piano"}, {"redraw": ["bass"]}, {"draws": [1]}, {"draws": {"piano": 1}}, {"draws": {"bass": -1}}],
)
def test_a_draw_that_no_stem_has_is_refused(session: Session, data: dict) -> None:
    with pytest.raises(RequestError, match=r"stem|draw"):
        session.runs.steer(data)


def test_a_script_asks_for_another_draw_by_its_number(session: Session) -> None:
    beats = [one for one in play(session, n_beats=1, draws={"drums": 3}) if one["kind"] == "beat"]
    assert beats[0]["draws"] == [3, 0, 0]


def test_an_abandoned_stream_frees_its_place_and_keeps_its_take(session: Session) -> None:
    stream = session.runs.play({"n_beats": None})
    for _ in range(4):
        next(stream)
    stream.close()
    assert session.scheduler.n_playing == 0
    assert not session.runs.is_running
    assert session.need_take(1).n_beats == 3
    assert session.need_take(1).state is not None


def test_a_listener_is_served_little_ahead(sessions: Sessions, loop_path: Path) -> None:
    session = sessions.find(sessions.create())
    session.load(loop_path)
    begun, seen = time.monotonic(), 0
    stream = session.runs.play({"n_beats": None})
    for message in stream:
        seen += message["kind"] == "beat"
        if time.monotonic() > begun + 1.0:
            break
    stream.close()
    beat_s = 60 / 140
    assert 4 <= seen <= (1.0 + sessions.limits.ahead_s) / beat_s + 2


def test_endless_makes_way_for_somebody_waiting(tmp_path: Path, loop_path: Path) -> None:
    sessions = Sessions(Model(compute_s=0.0), Limits(shared_beats=8, players=1), tmp_path)
    first, second = (sessions.find(sessions.create(paced=False)) for _ in range(2))
    first.load(loop_path), second.load(loop_path)
    endless, other = first.runs.play({"n_beats": None}), second.runs.play({"n_beats": 1})
    next(endless)
    assert next(other)["kind"] == "waiting"
    end = list(endless)[-1]
    assert end["reason"] == "others"
    assert first.need_take(1).n_beats == 8
    assert [one["kind"] for one in other] == ["start", "beat", "end"]


def test_crop_use_and_undo(session: Session) -> None:
    session.crop(4, 8)
    assert session.need_loop().prompt.n_beats == 4
    play(session, n_beats=4)
    session.use_take(1)
    assert session.need_loop().prompt.n_beats == 8
    session.undo()
    assert session.need_loop().prompt.n_beats == 4
    session.undo()
    assert session.view()["takes"] == []
    session.undo()
    assert session.need_loop().prompt.n_beats == 8


def test_half_the_tempo_has_half_the_beats(session: Session) -> None:
    session.retime(70.0, 4)
    loop = session.need_loop()
    assert (loop.prompt.n_beats, loop.source) == (4, "you")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n_beats": 0}, "from 1 to 256"),
        ({"n_beats": 10**9}, "from 1 to 256"),
        ({"n_beats": "many"}, "from 1 to 256"),
        ({"n_beats": True}, "from 1 to 256"),
        ({"seed": -1}, "seed"),
        ({"seed": float("nan")}, "seed"),
        ({"temperature": -1}, "emperature"),
        ({"temperature": float("nan")}, "number"),
        ({"top_k": 1.5}, "top-k"),
        ({"keep": 9}, "Take 9"),
    ],
)
def test_impossible_wishes_are_refused_before_any_work(session: Session, fields: dict, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        play(session, **fields)
    assert session.view()["takes"] == []
    assert session.scheduler.n_playing == session.scheduler.n_waiting == 0


@pytest.mark.slow
def test_a_hundred_continuations_keep_what_was_promised(session: Session) -> None:
    for seed in range(100):
        play(session, seed=seed, n_beats=1)
    takes = session.view()["takes"]
    assert [take["seed"] for take in takes] == list(range(100 - session.limits.kept_takes, 100))


def test_three_at_once_do_not_mix(sessions: Sessions, loop_path: Path) -> None:
    people = [sessions.find(sessions.create(paced=False)) for _ in range(3)]
    heard: dict[int, bytes] = {}

    def visit(seed: int, session: Session) -> None:
        session.load(loop_path)
        heard[seed] = sound(play(session, seed=seed, n_beats=20))

    threads = [threading.Thread(target=visit, args=item) for item in enumerate(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    alone = sessions.find(sessions.create(paced=False))
    alone.load(loop_path)
    for seed in range(3):
        assert heard[seed] == sound(play(alone, seed=seed, n_beats=20))


def test_a_full_disk_ends_with_a_sentence(tmp_path: Path, loop_path: Path) -> None:
    sessions = Sessions(Model(compute_s=0.0), Limits(session_mb=50, take_mb=50), tmp_path / "sessions")
    session = sessions.find(sessions.create(paced=False))
    session.load(loop_path)
    end = list(session.runs.play({"n_beats": None}))[-1]  # 50 MB are 330 beats of 151 kB
    assert (end["reason"], end["view"]["takes"][0]["n_beats"]) == ("rest", 331)
    with pytest.raises(RequestError, match="the limit is 50 MB"):
        play(session)
    sessions.close()
    assert not (tmp_path / "sessions").exists()


def test_an_unused_session_is_forgotten_with_its_files(tmp_path: Path) -> None:
    now = [0.0]
    sessions = Sessions(Model(), Limits(session_minutes=30), tmp_path, clock=lambda: now[0])
    token = sessions.create()
    folder = sessions.find(token).folder
    now[0] = 29 * 60.0
    assert sessions.find(token).folder.is_dir()
    now[0] += 31 * 60.0
    with pytest.raises(RequestError, match="30 minutes"):
        sessions.find(token)
    assert not folder.exists()


def test_a_full_house_forgets_the_longest_unused(tmp_path: Path) -> None:
    sessions = Sessions(Model(), Limits(sessions=2), tmp_path, clock=iter(range(100)).__next__)
    first, second = sessions.create(), sessions.create()
    sessions.find(first)
    sessions.create()
    assert sessions.find(first)
    with pytest.raises(RequestError):
        sessions.find(second)


def test_calls_answer_with_a_sentence_whatever_comes(sessions: Sessions, loop_path: Path, tmp_path: Path) -> None:
    actions = Actions(sessions, [loop_path], tmp_path / "uploads")
    hello = actions.call({"do": "hello"})["ok"]
    token = hello["token"]
    assert [card["name"] for card in hello["examples"]] == ["click_140bpm.wav"]
    assert hello["limits"] == asdict(sessions.limits)
    for bad in (
        None, {}, {"do": "crop"}, {"do": "crop", "token": token}, {"do": "__init__", "token": token},
        {"do": "load", "token": token, "path": "/etc/passwd"}, {"do": "load", "token": token, "path": "../x"},
        {"do": "example", "token": token, "name": "../secret.wav"}, {"do": "use", "token": token, "take": 1},
        {"do": "export", "token": token, "take": 1}, {"do": "zip", "token": token}, {"do": "undo", "token": token},
        {"do": "retime", "token": token, "bpm": "fast"}, {"do": "edit", "token": token, "order": 3},
        {"do": "steer", "token": token, "temperature": "hot"},
    ):  # fmt: skip
        answer = actions.call(bad)  # type: ignore[arg-type]
        assert set(answer) - {"gone"} == {"error"}, bad
        assert ("gone" in answer) == (bad is not None and "token" not in bad)
        assert answer["error"][0].isupper()
        assert answer["error"].endswith((".", "!"))


def test_somebody_elses_token_opens_nothing(sessions: Sessions, loop_path: Path, tmp_path: Path) -> None:
    actions = Actions(sessions, [loop_path], tmp_path / "uploads")
    mine, yours = (actions.call({"do": "hello"})["ok"]["token"] for _ in range(2))
    actions.call({"do": "example", "token": mine, "name": "click_140bpm.wav"})
    key = actions.call({"do": "view", "token": mine})["ok"]["loop_key"]
    assert "error" in actions.call({"do": "loop", "token": yours, "key": key})


def test_limits_come_from_the_environment() -> None:
    limits = Limits.from_environment({"MELFORMER_BEATS": "32", "MELFORMER_AHEAD_S": "1.5"})
    assert (limits.beats, limits.ahead_s) == (32, 1.5)
    for bad in ({"MELFORMER_BEATS": "many"}, {"MELFORMER_BEATS": "0"}, {"MELFORMER_AHEAD_S": "nan"}):
        with pytest.raises(ConfigError, match="MELFORMER_"):
            Limits.from_environment(bad)


def test_the_table_in_the_docs_is_the_table_of_the_code() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "http.md"
    assert limits_table() in page.read_text(encoding="utf-8")


def test_what_no_take_needs_any_more_leaves_the_disk(session: Session) -> None:
    for seed in range(UNDO_STEPS + 2):
        play(session, seed=seed)
        session.remove_take(seed + 1)
    play(session)
    last = session.need_take(UNDO_STEPS + 3)
    assert last.state is not None and last.state.is_file() and last.tape.path.is_file()
    assert len(list(session.folder.glob("tape*.f32"))) == len(list(session.folder.glob("*.state"))) <= UNDO_STEPS + 1
    session.undo()  # no last take
    session.undo()  # the one before is not removed
    assert play(session, keep=UNDO_STEPS + 2)[-1]["reason"] == "done"  # an undone take still goes on
