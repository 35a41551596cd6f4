"""The transformer against reference formulas, and its causality, through gradients."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from melformer.config import PRESETS
from melformer.generate.mixes.step_decoder import StepDecoder
from melformer.transformer.delay_pattern import DelayPattern
from melformer.transformer.gqa import GroupedQueryAttention
from melformer.transformer.mlp import SwiGLU
from melformer.transformer.model import BeatTransformer, Conditioning
from melformer.transformer.rms_norm import RMSNorm
from melformer.transformer.rope import rotate, rotation

N_BEATS, N_FRAMES, SIZE = 12, 16, 64


@pytest.fixture(scope="module")
def model() -> BeatTransformer:
    torch.manual_seed(0)
    return BeatTransformer(PRESETS["tiny"].transformer, N_FRAMES, SIZE).eval()


@pytest.fixture(scope="module")
def codes() -> torch.Tensor:
    return torch.randint(0, SIZE, (2, N_BEATS, N_FRAMES, 3), generator=torch.Generator().manual_seed(1))


def conditioning(n_beats: int = N_BEATS) -> Conditioning:
    return Conditioning(torch.tensor([0.1, float("nan")]), (torch.arange(n_beats) % 4).expand(2, -1))


def test_rms_norm_equals_the_formula() -> None:
    norm = RMSNorm(8)
    norm.gain.data = torch.linspace(0.5, 2.0, 8)
    x = torch.randn(3, 5, 8)
    expected = x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6) * norm.gain
    assert torch.allclose(norm(x), expected, atol=1e-6)


def test_rope_equals_complex_rotation_and_depends_on_distance_alone() -> None:
    x = torch.randn(1, 1, 6, 8)
    positions = torch.arange(6) + 100
    turned = rotate(x, *rotation(positions, 8, 10_000.0))
    angles = positions[:, None].double() * 10_000.0 ** (-torch.arange(0, 8, 2).double() / 8)
    expected = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
    assert torch.allclose(turned, torch.cat([expected.real, expected.imag], -1), atol=1e-5)
    q, k = torch.randn(2, 1, 1, 1, 8)

    def score(at: int, of: int) -> torch.Tensor:
        one = rotation(torch.tensor([at]), 8, 10_000.0), rotation(torch.tensor([of]), 8, 10_000.0)
        return (rotate(q, *one[0]) * rotate(k, *one[1])).sum()

    assert torch.allclose(score(7, 3), score(10_007, 10_003), atol=1e-4)
    assert not torch.allclose(score(7, 3), score(7, 4), atol=1e-4)


def test_swiglu_equals_the_formula() -> None:
    mlp = SwiGLU(12, 8)
    x = torch.randn(2, 12)
    gate, up = mlp.gate_up.weight.chunk(2)
    expected = (F.silu(x @ gate.T) * (x @ up.T)) @ mlp.down.weight.T
    assert mlp.down.weight.shape == (12, 32) and torch.allclose(mlp(x), expected, atol=1e-6)


def test_grouped_query_attention_equals_softmax_with_repeated_heads() -> None:
    torch.manual_seed(0)
    attention = GroupedQueryAttention(32, 4, 2, window=5, rope_base=10_000.0)
    x = torch.randn(2, 9, 32)
    heads = attention.project_in(x).unflatten(-1, (8, 8)).transpose(1, 2)
    turn = rotation(torch.arange(9), 8, 10_000.0)
    q, k, v = rotate(heads[:, :4], *turn), rotate(heads[:, 4:6], *turn), heads[:, 6:]
    k, v = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
    distance = torch.arange(9)[:, None] - torch.arange(9)
    mask = (distance >= 0) & (distance < 5)
    by_hand = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v
    by_torch = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    for expected in (by_hand, by_torch):
        assert torch.allclose(attention(x), attention.project_out(expected.transpose(1, 2).flatten(2)), atol=1e-5)


def test_no_gradient_flows_from_later_beats_to_earlier_predictions(model: BeatTransformer, codes: torch.Tensor) -> None:
    """Through the embeddings of heard codes: a prediction of beat 5 must not touch those of beats 5 and later."""
    torch.manual_seed(0)
    told = conditioning()
    beat_rows = model.beat_table.weight.detach().clone()
    for heard_later in (5, 8, 11):
        changed = codes.clone()
        changed[:, heard_later:] = (changed[:, heard_later:] + 7) % SIZE
        chosen = torch.arange(heard_later + 1)
        with torch.no_grad():
            a, b = (model(c, told, chosen) for c in (codes, changed))
        # beat `heard_later` itself is said step by step; its first step has heard nothing of it
        assert torch.equal(a.logits[:, :heard_later], b.logits[:, :heard_later])
        assert torch.equal(a.gates[:, heard_later, 0], b.gates[:, heard_later, 0])
        assert not torch.equal(a.logits[:, heard_later, 1:], b.logits[:, heard_later, 1:])
    embedded = torch.nn.functional.embedding(codes + model.codes.offsets, beat_rows).flatten(2).requires_grad_()
    shifted = torch.cat([model.start.expand(2, 1, -1), model.beat_in(embedded)[:, :-1]], dim=1)
    model.beats(shifted)[:, 5].sum().backward()
    assert embedded.grad is not None
    assert embedded.grad[:, :5].abs().sum(-1).min() > 0 and embedded.grad[:, 5:].abs().max() == 0


def test_steps_inside_a_beat_do_not_see_later_steps(model: BeatTransformer, codes: torch.Tensor) -> None:
    changed = codes.clone()
    changed[:, 6, 8] = (changed[:, 6, 8] + 1) % SIZE  # frame 8: codebook 0 is said at step 8
    chosen = torch.tensor([6])
    with torch.no_grad():
        a, b = (model(c, conditioning(), chosen) for c in (codes, changed))
    assert torch.equal(a.logits[:, 0, :9], b.logits[:, 0, :9])
    assert not torch.equal(a.logits[:, 0, 9], b.logits[:, 0, 9])


@pytest.mark.parametrize(("n_beats", "n_read"), [(12, 1), (40, 36)])  # 40 beats go round the ring of 32
def test_cache_on_and_off_give_the_same_logits(model: BeatTransformer, n_beats: int, n_read: int) -> None:
    codes = torch.randint(0, SIZE, (2, n_beats, N_FRAMES, 3), generator=torch.Generator().manual_seed(2))
    told = conditioning(n_beats)
    steps = model.pattern.to_steps(codes).numpy()
    decoder = StepDecoder(model)
    with torch.inference_mode():
        whole = model(codes, told, torch.arange(n_beats))
        state = model.prefill(codes[:, :n_read], Conditioning(told.tempo, told.bar_positions[:, : n_read + 1]))
        for k in range(n_read, n_beats):
            decoder.begin(state)
            for s, (first, last) in enumerate(decoder.spans):
                one = decoder.step(s, steps[:, k, s - 1] if s else None)
                assert np.allclose(one.logits, whole.logits[:, k, s, first:last], atol=1e-4)
                assert np.allclose(one.gates, whole.gates[:, k, s, first:last], atol=1e-4)
                weights = whole.pointer[:, k, s].exp().numpy()
                assert np.allclose(one.weights.max(1), weights.max(1), atol=1e-4)
                assert np.allclose(one.weights.sum(1), weights.sum(1), atol=1e-4)
            if k + 1 < n_beats:
                model.append(state, codes[:, k], Conditioning(told.tempo, told.bar_positions[:, k + 1 : k + 2]))


def test_likelihoods_of_all_codes_sum_to_one(model: BeatTransformer, codes: torch.Tensor) -> None:
    chosen = torch.tensor([4])
    with torch.no_grad():
        prediction = model(codes, conditioning(), chosen)
        total = torch.zeros(2)
        for code in range(SIZE):
            said = codes.clone()
            said[:, 4, 3, 1] = code
            likelihood = model.log_likelihood(prediction, codes, said, chosen)
            total += likelihood[:, 0, 3 + 1, 1].exp()  # codebook 1 of frame 3 is said one step late
    assert torch.allclose(total, torch.ones(2), atol=1e-4)


def test_delay_pattern_goes_there_and_back(codes: torch.Tensor) -> None:
    pattern = DelayPattern((0, 1, 1), N_FRAMES)
    steps = pattern.to_steps(codes)
    assert steps.shape == (2, N_BEATS, 17, 3)
    assert torch.equal(steps[:, :, 4, 1], codes[:, :, 3, 1])
    assert torch.equal(pattern.to_frames(steps), codes)
