"""tools/development_report.py: pieces from MIDI and from a corpus, and what is counted of them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
from midi_files import band, metre, write_midi

from melformer.corpus.notes import NOTE, notes_to_json

PATH = Path(__file__).resolve().parents[1] / "tools" / "development_report.py"
SPEC = importlib.util.spec_from_file_location("development_report", PATH)
assert SPEC is not None and SPEC.loader is not None
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)


def piece(bass: list[int], drums: int = 0) -> dict[str, np.ndarray]:
    """A bass note a beat, of these pitches, and a kick on each of so many beats."""
    stems = {
        "bass": [(12 * i, 6, 1, pitch, 90) for i, pitch in enumerate(bass)],
        "drums": [(12 * i, 1, 0, 128, 90) for i in range(drums)],
        "other": [],
    }
    return {stem: np.array(rows, NOTE) for stem, rows in stems.items()}


def test_stems_that_leave_the_loop_are_counted_in_each_beat():
    """Eight beats heard: then the loop again, then a bass note elsewhere in every beat, over the same drums."""
    loop = [40, 41, 42, 43] * 6
    found = tool.development([piece(loop, 24), piece([*loop[:8], *([50] * 16)], 24)], 8)
    assert (found["n_pieces"], found["n_stretches"], found["loop_again"]) == (2, 2, 0.5)
    assert found["leaving"] == {"0": 0.5, "1": 0.5, "2": 0.0, "3": 0.0}
    assert found["shares"]["drums"]["loop order"] == 1 and found["shares"]["bass"]["transposed"] == 0.5
    assert np.isnan(found["shares"]["other"]["new"])  # a stem that never sounds


def test_stretches_begin_every_sixteen_beats():
    assert tool.development([piece([40] * 23)], 8)["n_stretches"] == 0
    assert tool.development([piece([40] * 56)], 8)["n_stretches"] == 3
    assert tool.development([], 16)["n_stretches"] == 0


def test_pieces_come_from_midi_in_four_and_from_a_corpus(tmp_path, capsys):
    write_midi(tmp_path / "a.mid", band(32))
    write_midi(tmp_path / "b.mid", band(32), [(0, metre(3, 4))])
    (tmp_path / "c.mid").write_bytes(b"nothing")
    (found,) = tool.midi_pieces(tmp_path)
    assert "c.mid" in capsys.readouterr().err
    assert len(found["drums"]) == 64 and found["bass"][1].tolist() == (12, 11, 33, 34, 110)
    lines = [
        {"metre": metre, "n_beats": n, "notes": notes_to_json(piece([40] * n))}
        for metre, n in (("4/4", 32), ("3/4", 32), ("4/4", 16))
    ]
    (tmp_path / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (read,) = tool.corpus_pieces(tmp_path)
    assert read["bass"].tolist() == piece([40] * 32)["bass"].tolist() and read["bass"].dtype == NOTE


def test_the_engines_pieces_are_long():
    for found in tool.engine_pieces(2, 3):
        assert max(int(notes["onset"].max()) for notes in found.values() if len(notes)) >= 16 * 12
