"""Development: the class of a beat from notes and from sources, and how far two tables of classes are apart."""

import development_report
import numpy as np
import pytest

from melformer.errors import RequestError
from melformer.evaluate.metrics import development as dev
from melformer.stems.units import UnitChoice

NOTE = np.dtype([("onset", "<i4"), ("instrument", "<i2"), ("pitch", "<i2")])
PROMPT = [(0, 60), (6, 62), (12, 64), (24, 60), (27, 65), (36, 67)]
"""Four beats: two eighths; a quarter; an eighth and a 16th after it; a quarter."""


def classes(new: list[tuple[int, int]], instrument: int = 0) -> list[str]:
    rows = [(t, 0, p) for t, p in PROMPT] + [(48 + t, instrument, p) for t, p in new]
    return development_report.classify_notes(np.array(rows, NOTE), 4, 4)


def test_the_loop_played_round_is_in_order():
    assert classes(PROMPT) == [dev.IN_ORDER] * 4


@pytest.mark.parametrize(
    ("beat", "expected"),
    [
        ([], dev.SILENT),
        ([(0, 64)], dev.OTHER_BEAT),
        ([(0, 62), (6, 64)], dev.TRANSPOSED),
        ([(0, 64), (6, 62)], dev.HALVES),
        ([(0, 64), (6, 59)], dev.HALVES_TRANSPOSED),
        ([(0, 60), (3, 65), (9, 65)], dev.QUARTERS),
        ([(4, 60), (10, 67)], dev.KNOWN),
        ([(1, 60), (5, 99)], dev.NEW),
    ],
)
def test_each_class_of_a_first_beat(beat, expected):
    assert classes(beat)[0] == expected


def test_another_instruments_notes_are_new_and_drums_are_never_transposed():
    assert classes([(0, 64)], instrument=1)[0] == dev.NEW
    rows = [(0, 0, 136), (12, 0, 138), (48, 0, 140)]
    assert development_report.classify_notes(np.array(rows, NOTE), 4, 1)[0] == dev.NEW


def test_a_later_start_hears_only_what_follows_it():
    rows = [(0, 0, 40), *((48 + 12 * i, 0, 60 + i) for i in range(4)), (96, 0, 60), (108, 0, 40)]
    assert development_report.classify_notes(np.array(rows, NOTE), 4, 2, first_beat=4) == [dev.IN_ORDER, dev.TRANSPOSED]


def test_classes_of_sources():
    sources = np.array([0, 1, 4, 5, 4, 5, -1, -1, 0, 3, 6, 7, 2, -1, -2, 3])
    shifts = np.array([0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0])
    assert dev.classify_sources(sources, shifts, 4) == [
        dev.IN_ORDER, dev.OTHER_BEAT, dev.TRANSPOSED, dev.SILENT,
        dev.HALVES, dev.HALVES_TRANSPOSED, dev.HALVES, dev.NEW,
    ]  # fmt: skip
    assert dev.classify_sources(np.array([1, 2]), np.array([0, 0]), 4) == [dev.HALVES]  # runs across a beat's edge


def test_classes_of_a_models_choices():
    loop = [UnitChoice(i) for i in range(4)]
    silent = [UnitChoice(0, silent=True)] * 4
    up = [UnitChoice(2, 5), UnitChoice(3, 5), UnitChoice(0), UnitChoice(1)]
    choices = list(zip(loop, silent, up, strict=True))
    assert dev.classify_choices(choices + choices[:1], 8) == {
        "drums": [dev.IN_ORDER] * 2, "bass": [dev.SILENT] * 2, "other": [dev.TRANSPOSED, dev.OTHER_BEAT],
    }  # fmt: skip
    cut = [(UnitChoice(0, second=4), UnitChoice(2), UnitChoice(3)), (UnitChoice(1), UnitChoice(1), UnitChoice(0))]
    assert dev.classify_choices(cut, 8) == {"drums": [dev.QUARTERS], "bass": [dev.HALVES], "other": [dev.HALVES]}


@pytest.mark.parametrize("sources", [[8, 0], [-3, 0], [0, 1, 2]])
def test_sources_outside_the_prompt_are_refused(sources):
    with pytest.raises(RequestError, match="units under 8"):
        dev.classify_sources(np.array(sources), np.zeros(len(sources), int), 4)


def test_shares_and_their_distance():
    a = dev.class_shares([dev.IN_ORDER, dev.IN_ORDER, dev.NEW, dev.SILENT])
    assert (a[dev.IN_ORDER], a[dev.NEW], a[dev.HALVES]) == (0.5, 0.25, 0)
    assert dev.class_distance(a, a) == 0
    assert dev.class_distance(a, dev.class_shares([dev.TRANSPOSED])) == 1
    assert dev.class_distance(a, dev.class_shares([dev.IN_ORDER])) == 0.5
    assert np.isnan(dev.class_shares([])[dev.NEW])
    with pytest.raises(RequestError, match="'noise' is no class"):
        dev.class_shares(["noise"])
