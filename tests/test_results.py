"""Figures in the documents are those of docs/results."""

import json

import make_results
import pytest
from quality_tables import continuation_text, development_text
from targets import Target, targets_text

INTERVAL = {"value": 0.5, "low": 0.25, "high": None}
WHERE = {"command": "a command", "machine": "a machine, 2 cores", "commit": "abc", "date": "2026-01-01"}


@pytest.mark.parametrize("name", make_results.TEXTS)
def test_what_stands_between_markers_is_what_the_measurements_hold(name):
    page = (make_results.DOCS / name).read_text(encoding="utf-8")
    assert make_results.filled(page, name) == page, "run `make results`"


def test_the_figures_beside_what_was_wanted_are_those_of_the_measurements():
    page = (make_results.RESULTS / "README.md").read_text(encoding="utf-8")
    assert make_results.put(page, "targets", targets_text()) == page, "run `make results`"


@pytest.mark.parametrize("path", sorted(make_results.RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_commands_of_measurements_can_be_typed_on_another_machine(path):
    words = json.loads(path.read_text(encoding="utf-8"))["command"].split()
    assert words[0] in ("melformer", "python") and not [word for word in words if word.startswith(("/", "~"))]


def test_a_figure_meets_its_limits_or_misses_them():
    assert [Target("a", value, 2.0, 3.0, " dB").verdict for value in (1.9, 2.0, 3.1, None)] == [
        "**missed**", "met", "**missed**", "",
    ]  # fmt: skip
    assert (Target("a", 1234.0, high=2.0).measured, Target("a", 0.5, low=0.25, unit="%").wanted) == ("1,234", "≥ 0.25%")


def test_a_table_is_replaced_between_its_markers_and_nothing_else():
    page = "before\n<!-- one: written by `make results` -->\nold\n<!-- end of one -->\nafter\n"
    new = make_results.put(page, "one", "new")
    assert new == page.replace("old", "new")
    assert make_results.put(new, "one", "new") == new
    with pytest.raises(ValueError, match="lost its place for two"):
        make_results.put(page, "two", "new")


def test_continuation_and_separation_become_tables(tmp_path):
    beats = {"new_share": INTERVAL, "loop_again": INTERVAL, "floor_rise_db": None, "level_jump_db": -1.25}
    far = {"n_clips": 7, "frechet": INTERVAL, "over_rules": None, "cosine": INTERVAL, "cosine_over_looped": INTERVAL}
    system = {"beats": beats, "embedding": far, "manner": {"groove_similarity": 0.1, "chroma_cosine": None}}
    text = continuation_text({**WHERE, "continuation": {"ours": system}})
    assert text.splitlines()[2] == (
        "| ours | 50% | 50% | – | −1.2 | 0.50 (0.25 to –) | – | 0.500 (0.250 to –) | 0.100, – |"
    )
    assert text.endswith("7 clips: `a command`, a machine, 2 cores, commit abc, 2026-01-01.")
    stem = {"sdr_improvement_db": 8.5, "sdr_db": None, "leakage": 0.25, "n_mixes": 3.0}
    stem |= {"over_baseline_db": -0.5, "below_baseline": 0.3}
    separation = {**WHERE, "songs": {"ours": {"drums": stem}}}
    path = tmp_path / "separation.json"
    path.write_text(json.dumps(separation))
    page = "<!-- separation: written by `make results` -->\n<!-- end of separation -->"
    assert "| songs | ours | drums | 8.5 | – | 0.25 | −0.5 | 30% | 3 |" in make_results.filled(page, folder=tmp_path)


def test_development_is_set_beside_peoples():
    people = {"shares": {"drums": {"loop order": 0.5, "another beat": 0.25, "new": 0.25}}, "n_pieces": 85}
    people |= {"loop_again": 0.04, "leaving": {"0": 0.25, "1": 0.75}}
    engine = people | {"shares": {"drums": {"loop order": 0.75, "another beat": 0.25, "new": 0.0}}, "n_pieces": 7}
    text = development_text({**WHERE, "by_beats_heard": {"people": {"16": people}, "engine": {"16": engine}}})
    assert text.splitlines()[3] == "| 16 | engine | 75% | 25% | 0% | 0.25 | 4% | 25%, 75% |"
    assert "people: 85 pieces, engine: 7 pieces" in text
