"""A checkpoint cut to its first codebooks: the same codes, and a transformer that hears the same beats."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from melformer.config import PRESETS
from melformer.errors import RequestError
from melformer.generate import Melformer
from melformer.hub import load_bundle
from melformer.hub.bundle import save_bundle
from melformer.train.cut_codebooks import cut_codebooks
from melformer.transformer.model import Conditioning


def saved(model: Melformer, folder: Path) -> Path:
    return save_bundle(folder, model.config, model.state_dict(), "# A card\n")


def test_what_is_left_reads_and_hears_as_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = Melformer(PRESETS["tiny"])
    for table in (whole.transformer.beat_table.weight, whole.transformer.codes.weight):
        table.data[128:] = table.data[128:].mean(dim=0)  # the third codebook's codes all mean the same
    torch.nn.init.normal_(whole.transformer.beat_in.bias)
    bundle = load_bundle(saved(whole, tmp_path / "whole"))
    whole = Melformer.from_pretrained(tmp_path / "whole")  # in eight bits where it can be, as the other
    config, tensors = cut_codebooks(bundle, 2)
    save_bundle(tmp_path / "cut", config, tensors, "# A card\n")
    cut = Melformer.from_pretrained(tmp_path / "cut")
    assert cut.config.codec.n_codebooks == 2 and cut.config.transformer.delays == (0, 1)
    beats = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 40_000)).astype(np.float32))
    codes = whole.codec.encode(beats)
    assert torch.equal(cut.codec.encode(beats), codes[..., :2])
    told = Conditioning(torch.zeros(1), torch.zeros(1, 4, dtype=torch.int64))
    with torch.inference_mode():
        heard = [m.transformer.read(c[None], told).contexts for m, c in ((whole, codes), (cut, codes[..., :2]))]
        starts = [m.transformer.step_embedding + 0.0 for m in (whole, cut)]
    assert torch.allclose(*heard, atol=2e-2)  # each rounds its own matrices
    means = whole.transformer.codes.weight[128:].mean(dim=0)
    assert torch.allclose(starts[1][2:], starts[0][2:17] + means, atol=1e-5)
    assert torch.allclose(starts[1][:2], starts[0][:2])


def test_what_cannot_be_cut_is_said(tmp_path: Path) -> None:
    bundle = load_bundle(saved(Melformer(PRESETS["tiny"]), tmp_path))
    for n in (0, 3, 4):
        with pytest.raises(RequestError, match="of 3, 1 to 2 can be kept"):
            cut_codebooks(bundle, n)
    apart = replace(PRESETS["tiny"], codec=replace(PRESETS["tiny"].codec, n_registers=1))
    with pytest.raises(RequestError, match="partials"):
        cut_codebooks(load_bundle(saved(Melformer(apart), tmp_path / "apart")), 2)
