"""What choices cost beside their likelihood: changes off the bar line, and one lag for long."""

import numpy as np
import pytest

from melformer.generate.planning.choice_costs import CHANGE_NATS, LAG_NATS, choice_costs
from melformer.transformer.pointer import N_SHIFTS, UNSHIFTED

N, BAR = 32, 8


def costs(sources, n_planned, shift=UNSHIFTED, is_to_leave=False):
    sources = np.asarray(sources)
    found = choice_costs(sources, np.full(len(sources), shift), n_planned, N, BAR, is_to_leave)
    assert found.shape == (N * N_SHIFTS + 1,) and found[-1] == 0
    return found[:-1].view(N, N_SHIFTS).numpy()


@pytest.mark.parametrize("n_planned", [0, 8, 16])
def test_a_bar_may_begin_with_anything(n_planned):
    assert not costs((np.arange(-32, 0) + n_planned) % N, n_planned).any()


def test_within_a_bar_all_but_going_on_costs():
    found = costs((np.arange(-32, 0) + 11) % N, 11)
    assert found[11, UNSHIFTED] == 0 and (np.delete(found.flatten(), 11 * N_SHIFTS + UNSHIFTED) == CHANGE_NATS).all()


def test_the_loop_may_be_left_within_a_bar_that_is_to_leave_it():
    assert not costs((np.arange(-32, 0) + 11) % N, 11, is_to_leave=True).any()
    elsewhere = costs((np.arange(-32, 0) + 11 + 4) % N, 11, is_to_leave=True)
    assert elsewhere[15, UNSHIFTED] == LAG_NATS and np.count_nonzero(elsewhere == CHANGE_NATS) == N * N_SHIFTS - 1


def test_a_lag_costs_once_it_has_had_a_bar_and_half_of_what_left_the_loop():
    played = np.arange(-32, 0) + 16  # the loop played round …
    for n_moved, is_worn in ((7, False), (8, True)):
        moved = played.copy()
        moved[len(moved) - n_moved :] += 4  # … and then a stretch from half a bar later
        found = costs(moved % N, 16)
        assert (found[(16 + 4) % N, UNSHIFTED] == LAG_NATS) == is_worn
        assert np.count_nonzero(found) == int(is_worn)
    mixed = played.copy()
    mixed[-24:-8] += np.arange(16) % 4 + 5  # twice as much left the loop at other lags
    mixed[-8:] += 4
    assert not costs(mixed % N, 16).any()


def test_the_same_lag_at_another_transposition_is_another_one():
    moved = (np.arange(-32, 0) + 16 + 4) % N
    found = costs(moved, 16, shift=UNSHIFTED + 2)
    assert found[20, UNSHIFTED + 2] == LAG_NATS and np.count_nonzero(found) == 1


def test_the_loop_played_round_never_costs():
    assert not costs(np.arange(-32, 0) % N, 0).any()
