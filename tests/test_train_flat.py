"""The flat control learns what it should, and sees nothing that it has not yet said."""

import math

import pytest
import torch

from melformer.train.flat import FlatModule, FlatSizes, FlatTransformer
from melformer.transformer.model import Conditioning

DELAYS, N_FRAMES, SIZE = (0, 1, 3), 4, 32
SIZES = FlatSizes(dim=32, n_layers=2, n_heads=2, n_kv_heads=1, context_beats=8)


@pytest.fixture
def module() -> FlatModule:
    torch.manual_seed(0)
    return FlatModule(FlatTransformer(SIZES, DELAYS, N_FRAMES, SIZE))


def told(n_passages: int, n_beats: int) -> Conditioning:
    return Conditioning(torch.zeros(n_passages), torch.arange(n_beats).expand(n_passages, -1) % 4)


def test_a_step_depends_on_what_was_said_before_it_alone(module: FlatModule) -> None:
    flat = module.transformer.eval()
    codes = torch.randint(SIZE, (1, 3, N_FRAMES, len(DELAYS)))
    frame = 6
    beat, inside = divmod(frame, N_FRAMES)
    for book, delay in enumerate(DELAYS):
        other = codes.clone()
        other[0, beat, inside, book] = (other[0, beat, inside, book] + 1) % SIZE
        same = torch.isclose(flat(codes, told(1, 3)), flat(other, told(1, 3)), atol=1e-6).all(-1).all(-1)[0]
        assert same[: frame + delay + 1].all() and not same[frame + delay + 1]


def test_its_loss_is_the_likelihood_of_every_chosen_code(module: FlatModule) -> None:
    """Ten codes that follow each other in turn are learned from the row, and only from it."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    chosen, losses = torch.arange(1, 3), []
    for step in range(120):
        start = torch.randint(10, (8, 1, 1, 1), generator=torch.Generator().manual_seed(step))
        codes = ((start + torch.arange(12).reshape(1, 3, N_FRAMES, 1)) % 10).expand(-1, -1, -1, len(DELAYS))
        found = module(codes, codes, told(8, 3), chosen, None)
        assert found.shape == (8, 2, N_FRAMES, len(DELAYS))
        loss = -found.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(SIZE), rel=0.5)
    assert losses[-1] < 0.1
