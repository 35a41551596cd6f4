"""Decoding with bytes, composing with halves: close to floats, and just as exact about streams and batches."""

import copy

import pytest
import torch
from tiny import check_stream_equals_whole
from torch import Tensor, nn

from melformer.codec.codec import Codec
from melformer.config import PRESETS
from melformer.runtime.packed import FEW_ROWS, PackedLinear, has_halves, use_bytes, use_floats, use_halves


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    codec = Codec(PRESETS["tiny"].codec).eval()
    with torch.no_grad():  # as loud as a trained one, so that differences cannot hide below the tolerance
        codec.decoder.head.bias += 4.0
    use_bytes(codec.decoder)
    return codec


def some_codes(n_takes: int, n_beats: int) -> Tensor:
    return torch.randint(0, 64, (n_takes, n_beats, 16, 3), generator=torch.Generator().manual_seed(2))


def test_a_stream_equals_the_whole(codec: Codec) -> None:
    check_stream_equals_whole(codec)


def test_a_take_sounds_the_same_alone_and_among_many(codec: Codec) -> None:
    codes = some_codes(4, 2)
    together, _ = codec.decode(codes)
    assert (codec.decode(codes[2:3])[0][0] - together[2]).abs().max() < 1e-5


def test_eight_bits_are_close_to_floats_and_can_be_undone(codec: Codec) -> None:
    rounded = codec.decode(some_codes(1, 3))[0]
    exact = copy.deepcopy(codec)
    use_floats(exact.decoder)
    truth = exact.decode(some_codes(1, 3))[0]
    error = (rounded - truth).square().mean() / truth.square().mean()
    assert 0.0 < error < 1e-3  # −30 dB; the shipped weights reach −43 dB


def test_a_layers_error_is_that_of_rounding() -> None:
    torch.manual_seed(0)
    layer, frames = nn.Linear(256, 100), torch.randn(3, 7, 256)
    frames[1, 2] *= 1_000.0  # one loud frame must not cost the others their precision
    with torch.inference_mode():
        truth = layer(frames)
        rounded = use_bytes(layer)(frames)
    error = (rounded - truth).square().mean(dim=-1) / truth.square().mean(dim=-1)
    assert error.max() < 4e-4


def test_the_weights_keep_their_names_and_gradients() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 4)
    names = list(layer.state_dict())
    frames = torch.randn(2, 16)
    truth = layer(frames)
    packed = use_bytes(layer)
    assert list(packed.state_dict()) == names
    assert torch.equal(packed(frames), truth)  # floats where gradients are wanted
    packed(frames).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.skipif(not has_halves(), reason="torch has no product with halves for this processor")
@pytest.mark.parametrize(("n_in", "n_out"), [(256, 8), (96, 512), (256, 1_024)])
def test_halves_give_a_row_the_same_among_any_others(n_in: int, n_out: int) -> None:
    torch.manual_seed(0)
    layer, frames = nn.Linear(n_in, n_out), torch.randn(FEW_ROWS + 1, n_in)
    with torch.no_grad():
        layer.weight.copy_(layer.weight.half())  # as checkpoints store them
        truth = layer(frames)
        packed = use_halves(copy.deepcopy(layer))
        again = copy.deepcopy(packed)
    assert isinstance(packed, PackedLinear)
    with torch.inference_mode():
        most = packed(frames[:FEW_ROWS])
        for n in range(1, FEW_ROWS):
            assert torch.equal(packed(frames[:n]), most[:n]) and torch.equal(again(frames[n:FEW_ROWS]), most[n:])
        assert torch.equal(packed(frames), truth)  # many rows: floats
    assert (most - truth[:FEW_ROWS]).abs().max() < 1e-5
    assert torch.equal(packed(frames[:2]), layer(frames[:2]))  # floats where gradients are wanted
    use_floats(packed)
    assert packed.bytes_per_weight == 4
