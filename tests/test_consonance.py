"""How bass and chords sound together, and that chords know a bass which is settled."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from melformer.generate.planning.consonance import INTERVAL_WORTH, consonance
from melformer.generate.planning.joint_planning import advance_together
from melformer.generate.planning.plan_options import FREE, PlanOptions
from melformer.generate.planning.planner import Planner
from melformer.stems.units import UnitChoice, UnitPictures
from melformer.transformer.pointer import N_SHIFTS, POINTERS, UNSHIFTED, Pointer

OTHER = 2


def chord(*pitches: int) -> torch.Tensor:
    found = torch.zeros(12)
    found[[pitch % 12 for pitch in pitches]] = 1.0
    return torch.nn.functional.normalize(found, dim=0)


@pytest.mark.parametrize("root", range(12))
def test_of_all_transpositions_of_a_bass_note_the_root_suits_a_chord_best(root):
    found = consonance(chord(0)[None, None], chord(root, root + 4, root + 7)[None], is_bass=True)
    assert found.shape == (1, 1, N_SHIFTS)
    steps = found[0, 0, UNSHIFTED - 6 : UNSHIFTED + 6]  # every pitch class once
    assert (int(steps.argmax()) - 6) % 12 == root


@pytest.mark.parametrize("is_bass", [True, False])
def test_intervals_count_from_the_bass_up_whichever_is_chosen(is_bass):
    own, other = torch.rand(2, 3, 12), torch.rand(2, 12)
    found = consonance(own, other, is_bass)
    for shift in (-7, 0, 5):
        moved = own[1, 2].roll(shift)
        bass, above = (moved, other[1]) if is_bass else (other[1], moved)
        expected = sum(float(bass @ above.roll(-i)) * INTERVAL_WORTH[i] for i in range(12))
        assert float(found[1, 2, shift + UNSHIFTED]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_silence_suits_everything():
    assert not consonance(torch.rand(1, 4, 12), torch.zeros(1, 12), is_bass=False).any()


def planner(seed: int) -> Planner:
    """Over a loop of two bars whose bass and chords are C, C, C, … in the first and F sharp in the second."""
    torch.manual_seed(0)
    mel = np.ones((16, 3, 24, 6), np.float32)
    chroma = np.full((16, 2, 12, 2), 1e-6, np.float32)
    chroma[:8, :, 0], chroma[8:, :, 6] = 1.0, 1.0
    return Planner(Pointer(POINTERS["tiny"]).eval(), UnitPictures(mel, chroma), 120.0, 8, (True, True, True), seed)


@pytest.mark.parametrize("way", ["kept", "not to leave the loop", "given", "muted", "free"])
def test_chords_are_chosen_to_go_with_a_bass_that_is_known(way):
    """Where the loop has C in the bass, an untrained pointer finds chords on C more often than by chance; where the
    bass is silent or not known yet, it does not."""
    options = PlanOptions(variation=(1.0, 0.0 if way == "not to leave the loop" else 1.0, 1.0), min_p=0.0)
    options = replace(options, keep=(False, way == "kept", False), mute=(False, way == "muted", False))
    given = (None, UnitChoice(8, -6), None) if way == "given" else FREE  # F sharp, down to C
    fits = 0
    for seed in range(60):
        choices = advance_together([planner(seed)], [options], [given])[0][0]
        fits += ((0 if choices[OTHER].source < 8 else 6) + choices[OTHER].shift) % 12 == 0
    by_chance = 60 * 2.5 / N_SHIFTS
    assert fits > 3 * by_chance if way not in ("muted", "free") else fits < 2 * by_chance
