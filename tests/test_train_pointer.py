"""The pointer in training: passages as units, labels that a transposition keeps, a run that resumes bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import arguments

from melformer.corpus import build
from melformer.data.pointer_batches import make_batch
from melformer.data.unit_dataset import UnitClip, gather_units
from melformer.errors import RequestError
from melformer.hub.parts import load_pointer
from melformer.train import run
from melformer.train.tasks.pointer import pointer_loss
from melformer.transformer.pointer import N_SHIFTS, POINTERS, UNSHIFTED, Pointer


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages")
    build(folder, 0.02, 3, long=1.0, stems=True, sample_rate=22_050)
    return folder


@pytest.fixture(scope="module")
def clips(passages: Path, tmp_path_factory: pytest.TempPathFactory) -> list[UnitClip]:
    return gather_units([passages], tmp_path_factory.mktemp("units"))


def test_a_passage_knows_which_of_its_units_are_alike(clips: list[UnitClip]) -> None:
    for clip in clips:
        n = clip.n_units
        assert clip.alike.shape == (3, n, n, N_SHIFTS) and clip.silent.shape == (3, n)
        itself = clip.alike[:, np.arange(n), np.arange(n), 7]
        assert (itself[~clip.silent] >= 99).all()


def test_a_batch_names_a_right_choice_for_every_unit_that_counts(clips: list[UnitClip]) -> None:
    batch = make_batch(clips, np.random.default_rng(0), 4)
    for k in range(3):
        assert batch.valid[k][batch.weight[..., k] > 0].any(dim=-1).all()
    assert ((batch.condition >= 0) & (batch.condition <= 1)).all()


def test_what_leaves_the_loop_is_never_taught_as_the_loops_own_music() -> None:
    """Four units that repeat; the fifth is near the first and its twin, the third, and nearer than to any other."""
    n, bar = 4, 2
    alike = np.zeros((3, 6, 6, N_SHIFTS), np.int8)
    alike[:, range(6), range(6), UNSHIFTED] = 100
    alike[:, 0, 2, UNSHIFTED] = alike[:, 2, 0, UNSHIFTED] = 100
    alike[:, 4, (0, 2, 3), UNSHIFTED], alike[:, 5, 1, UNSHIFTED] = (90, 90, 60), 100
    clip = UnitClip(
        np.ones((1, 6, 3, 24, 6), np.float16), np.ones((1, 6, 2, 12, 2), np.float32), alike, np.zeros((3, 6), bool),
        np.zeros((12, 12), np.int8), 120.0, bar,
    )  # fmt: skip
    batches = [make_batch([clip], np.random.default_rng(i), 1) for i in range(20)]
    batch = next(batch for batch in batches if int(batch.n[0]) == n)
    for valid in batch.valid:
        table = valid[0, :2, :-2].reshape(2, n, N_SHIFTS)
        assert table[0].nonzero().tolist() == [[3, UNSHIFTED]], "not the first unit, nor its twin"
        assert table[1].nonzero().tolist() == [[1, UNSHIFTED]], "what stays with the loop is the loop's"


def test_a_prompt_of_one_short_bar_is_learned_from() -> None:
    """Of three half beats; what was played before is compared over four."""
    alike = np.zeros((3, 6, 6, N_SHIFTS), np.int8)
    alike[:, range(6), range(6), UNSHIFTED] = alike[:, range(3, 6), range(3), UNSHIFTED] = 100
    clip = UnitClip(
        np.ones((1, 6, 3, 24, 6), np.float16), np.ones((1, 6, 2, 12, 2), np.float32), alike, np.zeros((3, 6), bool),
        np.zeros((12, 12), np.int8), 120.0, 3,
    )  # fmt: skip
    batch = make_batch([clip], np.random.default_rng(0), 2)
    assert batch.n.tolist() == [3, 3]
    losses = pointer_loss(Pointer(POINTERS["tiny"]).eval(), batch)
    assert all(bool(torch.isfinite(loss)) for loss in losses.values()) and float(losses["bass"]) > 0.0


def test_drums_whose_halves_were_heard_apart_are_taught_to_be_cut() -> None:
    """Of the fifth unit nothing was heard whole; its first half is the second unit's, its second half that of none but
    the first half of the fourth."""
    n, bar = 4, 2
    alike = np.zeros((3, 6, 6, N_SHIFTS), np.int8)
    alike[:, range(6), range(6), UNSHIFTED] = 100
    alike[:, 5, 1, UNSHIFTED] = 100
    halves = np.eye(12, dtype=np.int8) * 100
    halves[8, 2] = halves[9, 6] = halves[10, 2] = halves[11, 3] = 100
    clip = UnitClip(
        np.ones((1, 6, 3, 24, 6), np.float16), np.ones((1, 6, 2, 12, 2), np.float32), alike, np.zeros((3, 6), bool),
        halves, 120.0, bar,
    )  # fmt: skip
    batches = [make_batch([clip], np.random.default_rng(i), 1) for i in range(20)]
    batch = next(batch for batch in batches if int(batch.n[0]) == n)
    table = batch.valid[0][0, :2, :-2].reshape(2, n, N_SHIFTS)
    assert table.nonzero().tolist() == [[0, 1, UNSHIFTED], [1, 1, UNSHIFTED]]
    assert batch.halves[0, :2].nonzero().tolist() == [[0, 6], [1, 3]] and bool((batch.half_weight[0, :2] == 1).all())


def test_later_units_do_not_change_earlier_choices(clips: list[UnitClip]) -> None:
    torch.manual_seed(0)
    pointer = Pointer(POINTERS["tiny"])
    batch = make_batch(clips, np.random.default_rng(1), 2)
    batch.weight[:, 5:] = batch.half_weight[:, 5:] = 0.0
    before = pointer_loss(pointer, batch)
    batch.choice[:, 5:] = (batch.choice[:, 5:] + 3) % int(batch.n[0])
    after = pointer_loss(pointer, batch)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_stopped_run_goes_on_to_the_same_bits(passages: Path, tmp_path: Path) -> None:
    words = ("--data", str(passages), "--preset", "tiny", "--threads", "1", "--cache", str(tmp_path / "cache"))
    run(arguments("pointer", *words, "-o", str(tmp_path / "whole")))
    run(arguments("pointer", *words, "-o", str(tmp_path / "half"), "--steps", "2", "--decay-fraction", "0"))
    plan = (tmp_path / "whole" / "plan.json").read_text()
    (tmp_path / "half" / "plan.json").write_text(plan.replace(str(tmp_path / "whole"), str(tmp_path / "half")))
    run(arguments("pointer", "--resume", str(tmp_path / "half")))
    one, other = (load_pointer(tmp_path / name / "checkpoint").state_dict() for name in ("whole", "half"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_material_without_notes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no long passage"):
        gather_units([tmp_path], tmp_path / "cache")
