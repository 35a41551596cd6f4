"""The scheduler: who plays, who waits, whose turn it is."""

import threading
import weakref

import pytest

from melformer.errors import RequestError
from melformer.ui.session.scheduler import QueuedStream, Scheduler


@pytest.fixture
def scheduler() -> Scheduler:
    """A scheduler for which a beat takes 0.1 s to make."""
    scheduler = Scheduler()
    for _ in range(8):
        scheduler.note_cost(0.1)
    return scheduler


def test_two_fast_streams_play_at_once_and_a_third_waits(scheduler: Scheduler) -> None:
    assert list(scheduler.enter(QueuedStream(0.3))) == []
    assert list(scheduler.enter(QueuedStream(0.3))) == []
    third = scheduler.enter(QueuedStream(0.3), poll_s=0.01)
    assert next(third).place == 1
    assert scheduler.n_playing == 2
    for _ in range(8):
        scheduler.note_cost(0.05)  # the machine turns out to be faster
    assert list(third) == []


def test_a_slow_stream_plays_alone_but_plays(scheduler: Scheduler) -> None:
    slow = QueuedStream(0.09, length_s=10.0)
    assert list(scheduler.enter(slow)) == []
    waiting = scheduler.enter(QueuedStream(0.5, length_s=4.0), poll_s=0.01)
    behind = scheduler.enter(QueuedStream(0.5), poll_s=0.01)
    assert next(waiting).wait_s == pytest.approx(10.0, abs=0.5)
    place = next(behind)
    assert (place.place, place.wait_s) == (2, pytest.approx(14.0, abs=0.5))
    scheduler.leave(slow)
    assert list(waiting) == []
    assert list(behind) == []


def test_who_came_first_plays_first() -> None:
    """Also where somebody behind would fit earlier, or asks more often."""
    scheduler = Scheduler()
    for _ in range(8):
        scheduler.note_cost(0.1)
    playing, order = QueuedStream(0.2), []
    list(scheduler.enter(playing))
    waiting = {
        name: scheduler.enter(QueuedStream(beat_s), poll_s=0.001) for name, beat_s in enumerate((0.15, 10.0, 0.15))
    }
    for name in waiting:
        assert next(waiting[name]).place == name + 1
    for name in (2, 1, 2, 1):  # the last two fit beside who plays, and ask again and again
        assert next(waiting[name]).place == name + 1
    scheduler.leave(playing)
    for name in (2, 1, 0):
        if next(waiting[name], None) is None:
            order.append(name)
    assert order == [0]


def test_several_takes_at_once_need_the_machine_alone(scheduler: Scheduler) -> None:
    list(scheduler.enter(QueuedStream(0.5)))
    assert next(scheduler.enter(QueuedStream(None), poll_s=0.01)).place == 1


def test_nobody_knows_when_an_endless_stream_ends(scheduler: Scheduler) -> None:
    list(scheduler.enter(QueuedStream(None)))
    assert next(scheduler.enter(QueuedStream(0.5), poll_s=0.01)).wait_s is None


def test_leaving_the_queue_lets_the_next_one_move_up() -> None:
    scheduler = Scheduler()
    list(scheduler.enter(QueuedStream(None)))
    first, second = QueuedStream(0.5), QueuedStream(0.5)
    next(scheduler.enter(first, poll_s=0.01))
    places = scheduler.enter(second, poll_s=0.01)
    assert next(places).place == 2
    scheduler.leave(first)
    assert next(places).place == 1


def test_who_is_not_ready_is_let_in_only_where_nobody_plays() -> None:
    """What it needs first is made while it waits, and not while others wait for their beats."""
    scheduler, ready = Scheduler(), threading.Event()
    first = QueuedStream(0.5, is_ready=ready.is_set)
    assert list(scheduler.enter(first)) == []
    second = scheduler.enter(QueuedStream(0.5, is_ready=ready.is_set), poll_s=0.01)
    scheduler.note_cost(0.01)
    assert next(second).place == 1 and next(second).place == 1
    ready.set()
    assert list(second) == []


def test_nobody_is_let_in_beside_somebody_who_falls_behind() -> None:
    """However little the beats seem to cost; and the others are told that they wait for longer."""
    scheduler = Scheduler(spare_s=1.0)
    scheduler.note_cost(0.01)
    playing = QueuedStream(0.5, length_s=10.0)
    assert list(scheduler.enter(playing)) == []
    playing.ahead_s = -5.0
    second = scheduler.enter(QueuedStream(0.5), poll_s=0.01)
    assert next(second).wait_s == pytest.approx(15.0, abs=0.5)
    playing.ahead_s = 0.9
    assert next(second).wait_s == pytest.approx(10.0, abs=0.5)
    playing.ahead_s = 1.1
    assert list(second) == []


def test_what_a_stream_held_goes_when_it_ends() -> None:
    """Also where it refers to itself, which the collector alone would leave for minutes."""

    class Held:
        pass

    scheduler, player, held = Scheduler(), QueuedStream(0.5), Held()
    list(scheduler.enter(player))
    held.itself = held
    gone = weakref.ref(held)
    del held
    scheduler.leave(player)
    assert gone() is None


def test_too_many_people_are_asked_to_come_back() -> None:
    scheduler = Scheduler(max_people=2)
    list(scheduler.enter(QueuedStream(None)))
    next(scheduler.enter(QueuedStream(None), poll_s=0.01))
    with pytest.raises(RequestError, match="2 people"):
        next(scheduler.enter(QueuedStream(None)))


def test_turns_never_overlap_and_come_in_order() -> None:
    scheduler, inside, order = Scheduler(), [], []

    def work(name: int) -> None:
        for _ in range(50):
            with scheduler.turn():
                inside.append(name)
                order.append(len(inside))
                inside.remove(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert order == [1] * 200


def test_the_load_follows_the_measured_speed() -> None:
    scheduler = Scheduler()
    for _ in range(5):
        scheduler.note_cost(0.1)
    assert scheduler.load_of(0.5) == pytest.approx(0.2)
    assert scheduler.load_of(0.05) == 1.0
