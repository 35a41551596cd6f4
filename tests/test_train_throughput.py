"""The tables of docs/how-to/train-on-many-machines.md come from a command that runs, in one process and in two."""

import json
from pathlib import Path

import pytest
import throughput


@pytest.mark.slow
def test_a_table_of_both_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    throughput.main([str(tmp_path), "--preset", "tiny", "--stages", "codec", "transformer", "--processes", "1", "2",
                     "--steps", "1", "--batch-size", "1", "--memory-gb", "60", "--price", "2"])  # fmt: skip
    found = json.loads((tmp_path / "throughput_tiny.json").read_text())
    assert [(r["stage"], r["processes"]) for r in found] == [
        ("codec", 1), ("codec", 2), ("transformer", 1), ("transformer", 2)]  # fmt: skip
    assert [r["music_s"] for r in found] == [1.0, 2.0, 32.0, 64.0]
    assert all(r["wall_s"] > 0 and r["processor_s"] > 0 and r["memory_gb"] > 0.1 for r in found)
    printed = capsys.readouterr().out
    assert printed.count("| codec |") == 3 and "100,000 hours" in printed


def test_costs_are_per_hour_of_music() -> None:
    figures = {"stage": "codec", "processes": 1, "device": "cpu", "wall_s": 9.0, "processor_s": 4.0, "music_s": 8.0}
    assert "| codec | 5 core hours, $10 | 500 core hours, $1,000 |" in throughput.describe([figures], 2.0)


def test_too_little_memory_ends_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="codec, 1 process"):
        throughput.main([str(tmp_path), "--preset", "tiny", "--stages", "codec", "--memory-gb", "0.2"])
