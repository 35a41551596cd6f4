"""Several takes and an independent listener, summarised: perfect, looped, ruled and worse systems, and missing ones."""

from dataclasses import replace

import numpy as np
import pytest
from evaluate_band import play

from melformer.errors import AudioError
from melformer.evaluate import protocol, sets, tables
from melformer.evaluate.embedding_summary import rules_line, summarise_embeddings
from melformer.evaluate.metrics.development import IN_ORDER, NEW, SILENT
from melformer.evaluate.metrics.new_beats import NewBeatScores
from melformer.evaluate.protocol import JUMPER, LOOPED, MELFORMER, TRUTH, Answer, CaseScores
from melformer.evaluate.summary import summarise, summarise_development

RNG = np.random.default_rng(0)
TRUE = [RNG.standard_normal((12, 3)) for _ in range(6)]


def rows(shift: float, new_share: float, n_takes: int = 1) -> list[CaseScores]:
    """Six clips whose embeddings are the truth's, moved by `shift` in each of three dimensions."""
    beats = NewBeatScores(new_share, 1.0 - new_share, 0.0, 0.0)
    return [
        CaseScores(f"clip {i}", None, beats, None, 0.0, true + shift)  # type: ignore[arg-type]  # not looked at
        for i, true in enumerate(TRUE)
        for _ in range(n_takes)
    ]


def test_distances_are_relative_to_looping_and_to_the_line_of_the_rules():
    found = summarise_embeddings({
        TRUTH: rows(0, 1.0), LOOPED: rows(2, 0.0), "rule": rows(4, 1.0), MELFORMER: rows(2, 0.5, n_takes=3),
    })  # fmt: skip
    assert found[TRUTH].frechet.value == pytest.approx(0, abs=1e-9)
    assert found[TRUTH].cosine.value == pytest.approx(1)
    assert found[LOOPED].frechet.value == pytest.approx(1)
    assert found[LOOPED].cosine_over_looped.value == 0
    assert found["rule"].frechet.value == pytest.approx(4)  # twice the shift
    assert found["rule"].over_rules.value == pytest.approx(0)
    # at half of the beats new the rules' line is at 2.5
    assert found[MELFORMER].over_rules.value == pytest.approx(1 - 2.5)
    assert found[MELFORMER].over_rules.low <= found[MELFORMER].over_rules.value <= found[MELFORMER].over_rules.high
    assert found[MELFORMER].n_clips == 6


def test_only_common_clips_count_and_there_must_be_one():
    some = summarise_embeddings({TRUTH: rows(0, 1.0), LOOPED: rows(2, 0.0), "candidate": rows(1, 0.5)[:4]})
    assert {summary.n_clips for summary in some.values()} == {4}
    assert some["candidate"].over_rules is None
    stranger = [replace(case, name="another") for case in rows(1, 0.5)[:1]]
    with pytest.raises(AudioError, match="no clip was continued by every system"):
        summarise_embeddings({TRUTH: rows(0, 1.0), LOOPED: rows(2, 0.0), "candidate": stranger})


def test_without_a_listener_or_the_truth_there_are_no_distances():
    deaf = [replace(case, embedding=None) for case in rows(0, 1.0)]
    assert summarise_embeddings({TRUTH: rows(0, 1.0), LOOPED: deaf}) == {}
    assert summarise_embeddings({LOOPED: rows(0, 1.0)}) == {}


def test_development_is_compared_with_people():
    people = summarise_development([replace(case, development=None) for case in rows(0, 1.0)])
    assert people == {}
    looped = {"drums": [IN_ORDER] * 16, "bass": [SILENT] * 16, "other": [IN_ORDER] * 8 + [NEW] * 8}
    found = summarise_development([replace(case, development=looped) for case in rows(0, 1.0)])
    assert set(found) == {"drums", "other"}  # a stem that never sounds is none
    assert found["drums"].shares[IN_ORDER] == 1
    assert 0.4 < found["drums"].distance < 0.6  # people stay in the loop's order in half of the beats
    assert found["other"].distance < found["drums"].distance


def test_the_rules_line_goes_through_looping_and_is_level_beyond_the_last_rule():
    points = {0.5: 1.02, 0.97: 1.21}
    assert rules_line(points, 0.0) == 1.0
    assert rules_line(points, 0.25) == pytest.approx(1.01)
    assert rules_line(points, 1.0) == 1.21
    assert rules_line({}, 0.7) == 1.0


def test_takes_are_drawn_and_the_table_shows_them():
    cases = [protocol.cut(sets.on_grid(f"clip {i}", play(16, seed=i), 120.0)) for i in range(2)]
    takes = []

    def ours(case: protocol.Case) -> Answer:
        takes.append((case.name, case.take))
        return Answer(case.truth if case.take else case.prompt)

    def embed(waveform):
        return np.random.default_rng(int(1e6 * np.abs(waveform.samples).sum())).standard_normal((4, 3))

    wanted = (TRUTH, LOOPED, JUMPER, "rule", "bars in another order")
    systems = {name: system for name, system in protocol.reference_systems(cases).items() if name in wanted}
    found = summarise(protocol.run(cases, {MELFORMER: ours, **systems}, n_takes=2, embed=embed))
    assert takes == [("clip 0", 0), ("clip 0", 1), ("clip 1", 0), ("clip 1", 1)]
    assert {name: len(system.cases) for name, system in found.items()} == {
        MELFORMER: 4, TRUTH: 2, LOOPED: 2, JUMPER: 4, "rule": 2, "bars in another order": 2,
    }  # fmt: skip
    assert all(case.embedding is None for system in found.values() for case in system.cases)
    assert found[LOOPED].beats.new_share.value == 0
    assert found[LOOPED].beats.loop_again.value == 1
    assert found[JUMPER].beats.new_share.value < 0.2
    assert found[TRUTH].embedding.frechet.value == pytest.approx(0, abs=1e-9)
    text = tables.new_beats_table(found)
    assert len(text.splitlines()) == 2 + len(found)
    assert "100% (100–100)" in text
