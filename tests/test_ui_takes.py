"""Takes without any page: redo, going back to a take's loop, names, several at once that are stopped, and stems."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_double import Model, loop_samples

from melformer.audio.io import Waveform, read_waveform, write_waveform
from melformer.errors import CheckpointError, RequestError, TempoError
from melformer.stems.units import UnitChoice
from melformer.ui.actions import Actions, sentence
from melformer.ui.host.limits import Limits
from melformer.ui.session.session import Session
from melformer.ui.session.sessions import Sessions
from melformer.ui.session.stem_jobs import PcmStems, StemJobs
from melformer.ui.takes.exports import export_stem, export_stems
from melformer.ui.wire import beat_sources, pcm16


@pytest.fixture
def loop_path(tmp_path: Path) -> Path:
    path = tmp_path / "uploads" / "click_140bpm.wav"
    write_waveform(path, loop_samples(8, 140.0))
    return path


@pytest.fixture
def session(tmp_path: Path, loop_path: Path) -> Session:
    sessions = Sessions(Model(compute_s=0.0), Limits(), tmp_path / "sessions")
    session = sessions.find(sessions.create(paced=False))
    session.load(loop_path)
    return session


def play(session: Session, **request: Any) -> list[dict[str, Any]]:
    return list(session.runs.play({"n_beats": 4, "seed": 7, **request}))


def test_what_was_undone_is_redone_until_something_changes(session: Session) -> None:
    play(session)
    session.undo()
    assert session.view()["can_redo"] and not session.view()["takes"]
    assert [take["seed"] for take in session.redo()["takes"]] == [7]
    session.undo()
    play(session, seed=8)
    with pytest.raises(RequestError, match="nothing to redo"):
        session.redo()


def test_there_is_nothing_before_the_first_loop(session: Session) -> None:
    with pytest.raises(RequestError, match="nothing to undo"):
        session.undo()
    assert session.loop is not None


def test_the_loop_of_a_take_is_opened_again(session: Session, tmp_path: Path) -> None:
    play(session)
    first = session.view()["loop_key"]
    write_waveform(other := tmp_path / "other_100bpm.wav", loop_samples(4, 100.0))
    assert session.load(other)["loop_key"] != first
    assert session.reopen(first)["loop_key"] == first
    with pytest.raises(RequestError, match="gone"):
        session.reopen("nothing")


def test_a_run_without_a_beat_leaves_no_take(session: Session) -> None:
    stream = session.runs.play({"n_beats": 4})
    next(stream)
    session.runs.stop()
    assert list(stream)[-1]["view"]["takes"] == []


def test_several_takes_are_stopped_between_two_beats(session: Session) -> None:
    session.model.compute_s = 0.05
    stream = session.runs.choose({"n_beats": 64, "seed": 1, "n_takes": 2})
    assert [next(stream)["kind"] for _ in range(3)] == ["making"] * 3
    assert session.view()["running"]
    threading.Timer(0.2, session.runs.stop).start()
    began = time.monotonic()
    *_, end = list(stream)
    assert time.monotonic() - began < 3.0  # all of them would take 6.4 s
    assert (len(end["takes"]), session.runs.is_running) == (2, False)  # what was made until then is kept
    assert session.scheduler.n_playing == 0


def test_a_steered_take_knows_both_settings(session: Session) -> None:
    stream = session.runs.play({"n_beats": 6, "variation": 0.5})
    next(stream), next(stream)
    session.runs.steer({"variation": 0.9})
    list(stream)
    (take,) = session.view()["takes"]
    assert (take["steered"]["variation"], take["variation"]) == (0.5, 0.9)
    play(session)
    assert session.view()["takes"][1]["steered"] is None


def test_names_and_marks_stay_with_the_take(session: Session) -> None:
    play(session)
    session.name_take(1, f"  The {'very ' * 30} good\n one ")
    (take,) = session.mark_take(1, True)["takes"]
    assert take["name"].startswith("The very very") and len(take["name"]) <= 60 and take["favourite"]
    play(session, keep=1)
    assert session.view()["takes"][0]["favourite"]


def test_a_favourite_is_the_last_to_go(tmp_path: Path, loop_path: Path) -> None:
    sessions = Sessions(Model(compute_s=0.0), Limits(kept_takes=3), tmp_path / "sessions")
    session = sessions.find(sessions.create(paced=False))
    session.load(loop_path)
    for seed in range(5):
        play(session, seed=seed, n_beats=1)
        if seed == 0:
            session.mark_take(1, True)
    assert [take["seed"] for take in session.view()["takes"]] == [0, 3, 4]


def unpacked(path: str) -> np.ndarray:
    return np.fromfile(path, "<i2").reshape(-1, 2)


def test_stems_of_loop_and_take_add_up(session: Session) -> None:
    play(session)
    loop = session.stems({"key": session.view()["loop_key"]})
    assert loop["present"] == ["drums", "bass", "other"]
    assert unpacked(loop["drums"]).shape == session.need_loop().prompt.waveform.samples.shape
    new = session.stems({"take": 1, "first": 1})
    take = session.need_take(1)
    assert len(unpacked(new["bass"])) == take.n_new_samples - len(take.beat(0))
    stems = session.stems_of(1)
    assert isinstance(stems, PcmStems)
    total = sum(stems.stem(name) for name in ("drums", "bass", "other"))
    assert np.array_equal(total, pcm16(take.whole().samples))


def test_who_asks_too_early_is_told_to_ask_again(loop_path: Path) -> None:
    jobs, may_end = StemJobs(), threading.Event()
    loop = read_waveform(loop_path)

    def make() -> PcmStems:
        may_end.wait(10.0)
        return PcmStems.of(loop, Model().stems(loop), ("drums", "bass", "other"))

    assert jobs.wait("a", make, wait_s=0.0) is False
    may_end.set()
    assert isinstance(jobs.wait("a", make, wait_s=10.0), PcmStems)
    jobs.close()


def test_what_cannot_be_separated_has_no_stems() -> None:
    def make() -> PcmStems:
        raise CheckpointError("There is no separator.")

    jobs = StemJobs()
    assert jobs.wait("a", make) is None
    jobs.close()


def test_a_stem_that_would_clip_is_written_as_float(session: Session, tmp_path: Path) -> None:
    loop = session.need_loop()
    mix = np.full((1000, 2), 30_000, np.int16)
    stems = PcmStems(mix, np.full_like(mix, -20_000), None, ("drums", "other"))
    other = read_waveform(export_stem(stems, "other", "loud", tmp_path, loop))
    assert np.array_equal(other.samples, np.full((1000, 2), 50_000 / 32_768, np.float32))
    assert export_stems(stems, "loud", tmp_path, loop).name == "loud_stems.zip"
    with pytest.raises(RequestError, match="drums, bass, other"):
        export_stem(stems, "voice", "loud", tmp_path, loop)


def test_beats_that_are_the_loops_own_are_not_called_new(session: Session) -> None:
    list(session.runs.play({"n_beats": 4}))
    take = session.need_take(1)
    assert take.n_unlike is None and take.loop.prompt.n_beats == 8  # the stand-in tells no sources

    def beat(**stems: dict) -> dict:
        parts = {name: {"from": 0, "shift": 0, "moved": False, **change} for name, change in stems.items()}
        return {name: [part] for name, part in parts.items()}

    own = [beat(drums={"from": k}, bass={"from": k}, other={"from": None}) for k in range(4)]
    for change in ({"from": 5}, {"from": 1, "shift": 3}, {"from": 1, "moved": True}):
        altered = [own[0], beat(drums={"from": 1}, bass=change), own[2], own[3]]
        assert replace(take, sources=altered).n_unlike == 1
    assert replace(take, sources=own).n_unlike == 0
    assert replace(take, sources=own, n_beats=2).n_unlike == 0


def test_half_beats_of_stems_become_sources() -> None:
    from types import SimpleNamespace

    unit = UnitChoice
    beat = SimpleNamespace(sources=((unit(6), unit(4, 2), unit(0, 0, True)), (unit(7), unit(6, 2), unit(0, 0, True))))
    parts = beat_sources(beat)
    assert parts is not None and beat_sources(SimpleNamespace(index=0)) is None
    assert [(one["from"], one["share"], one["moved"]) for one in parts["drums"]] == [(3, 1.0, False)]
    assert [(one["from"], one["shift"], one["moved"]) for one in parts["bass"]] == [(2, 2, False), (3, 2, True)]
    assert [(one["from"], one["silent"]) for one in parts["other"]] == [(None, True)] * len(parts["other"])
    cut = SimpleNamespace(sources=((unit(6, second=1),) * 3, (unit(7),) * 3))
    drums = (beat_sources(cut) or {})["drums"]
    assert [(one["from"], one["share"], one["moved"]) for one in drums] == [
        (3, 0.25, False),
        (0, 0.25, False),
        (3, 0.5, False),
    ]


def test_an_example_is_opened_once_for_all(tmp_path: Path, loop_path: Path) -> None:
    sessions = Sessions(Model(compute_s=0.0), Limits(), tmp_path / "sessions")
    actions = Actions(sessions, [loop_path], tmp_path / "uploads")
    tokens = [actions.call({"do": "hello"})["ok"]["token"] for _ in range(2)]
    keys = {actions.call({"do": "example", "token": one, "name": loop_path.name})["ok"]["loop_key"] for one in tokens}
    assert len(keys) == 1
    (card,) = actions.call({"do": "hello"})["ok"]["examples"]
    assert card["bpm"] == 140.0 and len(card["outline"]) == 56 and max(card["outline"]) == 1.0


def test_a_snippet_is_too_short(session: Session, tmp_path: Path) -> None:
    write_waveform(path := tmp_path / "snippet.wav", Waveform(np.zeros((13_230, 1), np.float32), 44_100))
    with pytest.raises(TempoError, match=r"Too short \(0\.30 s\)"):
        session.load(path)


def test_a_file_name_in_a_sentence_is_not_capitalised() -> None:
    assert sentence(RequestError("words.wav is empty")) == "words.wav is empty."
    assert sentence(RequestError("no such take")) == "No such take."
