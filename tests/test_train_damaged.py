"""`train --resume` on a run whose files were damaged: a sentence, never a traceback, and the files stay."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from melformer.cli import main
from melformer.train.checkpoint import log_entry


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    from faults import write_loop

    folder = tmp_path_factory.mktemp("run")
    for bpm in (100, 120):
        write_loop(folder / "loops" / f"loop_{bpm}bpm.wav", bpm=bpm)
    options = ["--preset", "tiny", "--steps", "2", "--save-every", "1", "--batch-size", "1"]
    assert main(["train", "codec", "--data", str(folder / "loops"), *options, "-o", str(folder / "run")]) == 0
    return folder / "run"


def plan_with(**changes: Any) -> Any:
    def change(plan: dict[str, Any]) -> Any:
        return {**plan, **changes}

    return change


PLANS: dict[str, Any] = {
    "a list": lambda plan: [plan], "a number": lambda plan: 3, "nothing": lambda plan: None, "empty": lambda plan: {},
    "unknown stage": plan_with(stage="organ"), "stage of another type": plan_with(stage=[1]),
    "options missing": lambda plan: {k: v for k, v in plan.items() if k != "options"},
    "options of another type": plan_with(options=[1]), "options null": plan_with(options=None),
    "unknown option": lambda plan: {**plan, "options": {**plan["options"], "colour": 1}},
    "option of another type": lambda plan: {**plan, "options": {**plan["options"], "steps": "many"}},
    "option with a fraction": lambda plan: {**plan, "options": {**plan["options"], "batch_size": 1.5}},
    "option null": lambda plan: {**plan, "options": {**plan["options"], "lr": None}},
    "config of another type": plan_with(config="tiny"), "config empty": plan_with(config={}),
    "config null": plan_with(config=None), "data of another type": plan_with(data=3),
    "data of numbers": plan_with(data=[1]),
    "cache of another type": plan_with(cache=[]), "threads of another type": plan_with(threads="all"),
    "threads below zero": plan_with(threads=-1), "hours of another type": plan_with(hours="long"),
    "init of another type": plan_with(init=3), "tokens of another type": plan_with(tokens=3),
    "codec missing": plan_with(stage="transformer"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANS)
def test_a_damaged_plan(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "plan.json"
    whole = path.read_text()
    path.write_text(json.dumps(PLANS[kind](json.loads(whole))))
    try:
        assert main(["train", "codec", "--resume", str(run)]) == 2
    finally:
        path.write_text(whole)
    words = capsys.readouterr().err
    assert words.count("\n") == 1 and str(run) in words


STATES: dict[str, Any] = {
    "a list": lambda state: [state], "a number": lambda state: 3, "empty": lambda state: {},
    "model null": lambda state: {**state, "model": None}, "model a list": lambda state: {**state, "model": [1]},
    "optimizer null": lambda state: {**state, "optimizer": None},
    "optimizer empty": lambda state: {**state, "optimizer": {}},
    "optimizer of another shape": lambda state: {**state, "optimizer": _reshaped(state["optimizer"])},
    "optimizer without moments": lambda state: {**state, "optimizer": _without_moments(state["optimizer"])},
    "averages missing": lambda state: {**state, "ema": {}},
    "averages null": lambda state: {**state, "ema": None},
    "step of another type": lambda state: {**state, "step": "two"},
    "step below zero": lambda state: {**state, "step": -1},
    "step with a fraction": lambda state: {**state, "step": 1.5},
    "step after the end": lambda state: {**state, "step": 10**9},
    "seconds null": lambda state: {**state, "seconds": None},
    "losses a list": lambda state: {**state, "running": [1]},
    "losses of words": lambda state: {**state, "running": {"total": "low"}},
    "validation null": lambda state: {**state, "validation": None},
}  # fmt: skip


def _reshaped(optimizer: dict[str, Any]) -> dict[str, Any]:
    moments = {key: {**one, "exp_avg": torch.zeros(3)} for key, one in optimizer["state"].items()}
    return {**optimizer, "state": moments}


def _without_moments(optimizer: dict[str, Any]) -> dict[str, Any]:
    return {**optimizer, "state": {key: {"step": torch.tensor(1.0)} for key in optimizer["state"]}}


@pytest.mark.parametrize("kind", STATES)
def test_a_damaged_state(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "state.pt"
    whole = path.read_bytes()
    torch.save(STATES[kind](torch.load(path, weights_only=True)), path)
    try:
        assert main(["train", "codec", "--resume", str(run)]) == 2
    finally:
        path.write_bytes(whole)
    words = capsys.readouterr().err
    assert words.strip().splitlines()[-1].startswith(f"melformer: {path} cannot be resumed: ")
    assert "Traceback" not in words


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04" + bytes(100), b"\x80\x02}q\x00.", b"words", bytes(5_000)])
def test_a_state_that_is_none(run: Path, damage: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "state.pt"
    whole = path.read_bytes()
    path.write_bytes(damage)
    try:
        assert main(["train", "codec", "--resume", str(run)]) == 2
    finally:
        path.write_bytes(whole)
    assert "Traceback" not in (words := capsys.readouterr().err) and "cannot be resumed" in words


def test_a_state_that_would_run_code_runs_none(run: Path, tmp_path: Path) -> None:
    """A pickle that calls something: `weights_only` is what stands before it."""
    import os
    import pickle

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = run / "state.pt"
    whole = path.read_bytes()
    for write in (lambda: torch.save({"model": Trap()}, path), lambda: path.write_bytes(pickle.dumps(Trap()))):
        write()
        try:
            assert main(["train", "codec", "--resume", str(run)]) == 2
        finally:
            path.write_bytes(whole)
        assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("line", ["", "3", "[]", "{}", '{"step": "one"}', '{"step": true}', "{", "[" * 100_000, "\x00"])
def test_a_damaged_line_of_the_log_is_left_out(run: Path, line: str) -> None:
    assert log_entry(line) is None
    log = run / "log.jsonl"
    whole = log.read_text() if log.exists() else ""
    log.write_text(f'{line}\n{{"step": 1, "seconds": 0.5}}\n')
    try:
        assert main(["train", "codec", "--resume", str(run)]) == 0
        assert log.read_text() == '{"step": 1, "seconds": 0.5}\n'
    finally:
        log.write_text(whole)
