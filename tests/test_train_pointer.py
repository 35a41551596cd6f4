"""The pointer in training: passages as units, labels that a transposition keeps, a run that resumes bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import arguments

from melformer.corpus import build
from melformer.data.unit_dataset import UnitClip, gather_units
from melformer.errors import RequestError
from melformer.hub.parts import load_pointer
from melformer.train import run
from melformer.train.pointer import make_batch, pointer_loss
from melformer.transformer.pointer import N_SHIFTS, POINTERS, Pointer


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


def test_later_units_do_not_change_earlier_choices(clips: list[UnitClip]) -> None:
    torch.manual_seed(0)
    pointer = Pointer(POINTERS["tiny"])
    batch = make_batch(clips, np.random.default_rng(1), 2)
    batch.weight[:, 5:] = 0.0
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
