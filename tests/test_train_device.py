"""Training on a graphics card, shown without one: tensors without numbers that know on which device they lie."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import train_worker
from torch._subclasses.fake_tensor import FakeTensorMode

from melformer.codec.quantizer import VectorQuantizer
from melformer.config import PRESETS
from melformer.train.tasks.codec import CodecTask
from melformer.train.tasks.transformer import TransformerTask

CARD = torch.device("lazy", 0)  # stands for any card: a device that this build of torch can pretend to have
TINY = PRESETS["tiny"]


@pytest.fixture
def material(tmp_path: Path) -> Path:
    """Six loops of noise on the model's grid, and their tokens beside them."""
    rng = np.random.default_rng(0)
    kinds = {
        "beats": lambda: rng.integers(-9_000, 9_000, (8, TINY.codec.samples_per_beat)).astype(np.int16),
        "tokens": lambda: rng.integers(64, size=(8, 16, 3)).astype(np.uint16),
    }
    for kind, draw in kinds.items():
        (tmp_path / kind).mkdir()
        entries = [{"name": f"{i}.npy", "bpm": 120.0, "beats_per_bar": 4, "n_beats": 8} for i in range(6)]
        for entry in entries:
            np.save(tmp_path / kind / str(entry["name"]), draw())
        (tmp_path / kind / "clips.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return tmp_path


def put_on_card(module: torch.nn.Module) -> None:
    """What `module.to(CARD)` does, which refuses tensors without numbers."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            part.register_parameter(name, torch.nn.Parameter(torch.empty_like(parameter, device=CARD)))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty_like(buffer, device=CARD))


@pytest.mark.parametrize("stage", ["codec", "transformer"])
def test_a_step_keeps_to_its_card(stage: str, material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation between two devices raises here as it would there."""
    quiet: list[str] = []  # devices whose bfloat16 is turned off for the loss
    monkeypatch.setattr(torch, "autocast", lambda device, enabled: (quiet.append(device), nullcontext())[1])
    task: CodecTask | TransformerTask
    if stage == "codec":
        task = CodecTask(TINY, material / "beats", train_worker.OPTIONS)
        task.criterion.n_scales = 7
        monkeypatch.setattr(torch, "randperm", lambda n, generator: np.arange(n))  # which scales, not on what device
        monkeypatch.setattr(VectorQuantizer, "_count", lambda self, codes: None)  # its shape depends on numbers
    else:
        task = TransformerTask(TINY, material / "tokens", train_worker.OPTIONS, n_beats=12, n_chosen=4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        put_on_card(task.module)
        if isinstance(task, CodecTask):
            put_on_card(task.criterion)
        task.device = CARD
        losses = task.loss(task.module, np.random.default_rng(0), 5)
        losses["total"].backward()
    assert losses["total"].device == CARD and quiet == [CARD.type]
    assert {p.grad.device for p in task.module.parameters() if p.grad is not None} == {CARD}
