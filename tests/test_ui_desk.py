"""The desk: who plays, who waits, whose turn it is."""

import threading

import pytest

from melformer.errors import RequestError
from melformer.ui.scheduler import Desk, Player


@pytest.fixture
def desk() -> Desk:
    """A desk where a beat takes 0.1 s to make."""
    desk = Desk()
    for _ in range(8):
        desk.note_cost(0.1)
    return desk


def test_two_fast_streams_play_at_once_and_a_third_waits(desk: Desk) -> None:
    assert list(desk.enter(Player(0.3))) == []
    assert list(desk.enter(Player(0.3))) == []
    third = desk.enter(Player(0.3), poll_s=0.01)
    assert next(third).place == 1
    assert desk.n_playing == 2
    for _ in range(8):
        desk.note_cost(0.05)  # the machine turns out to be faster
    assert list(third) == []


def test_a_slow_stream_plays_alone_but_plays(desk: Desk) -> None:
    slow = Player(0.09, length_s=10.0)
    assert list(desk.enter(slow)) == []
    waiting = desk.enter(Player(0.5, length_s=4.0), poll_s=0.01)
    behind = desk.enter(Player(0.5), poll_s=0.01)
    assert next(waiting).wait_s == pytest.approx(10.0, abs=0.5)
    place = next(behind)
    assert (place.place, place.wait_s) == (2, pytest.approx(14.0, abs=0.5))
    desk.leave(slow)
    assert list(waiting) == []
    assert list(behind) == []


def test_several_takes_at_once_need_the_machine_alone(desk: Desk) -> None:
    list(desk.enter(Player(0.5)))
    assert next(desk.enter(Player(None), poll_s=0.01)).place == 1


def test_nobody_knows_when_an_endless_stream_ends(desk: Desk) -> None:
    list(desk.enter(Player(None)))
    assert next(desk.enter(Player(0.5), poll_s=0.01)).wait_s is None


def test_leaving_the_queue_lets_the_next_one_move_up() -> None:
    desk = Desk()
    list(desk.enter(Player(None)))
    first, second = Player(0.5), Player(0.5)
    next(desk.enter(first, poll_s=0.01))
    places = desk.enter(second, poll_s=0.01)
    assert next(places).place == 2
    desk.leave(first)
    assert next(places).place == 1


def test_too_many_people_are_asked_to_come_back() -> None:
    desk = Desk(max_people=2)
    list(desk.enter(Player(None)))
    next(desk.enter(Player(None), poll_s=0.01))
    with pytest.raises(RequestError, match="2 people"):
        next(desk.enter(Player(None)))


def test_turns_never_overlap_and_come_in_order() -> None:
    desk, inside, order = Desk(), [], []

    def work(name: int) -> None:
        for _ in range(50):
            with desk.turn():
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
    desk = Desk()
    for _ in range(5):
        desk.note_cost(0.1)
    assert desk.load_of(0.5) == pytest.approx(0.2)
    assert desk.load_of(0.05) == 1.0
