"""A transformer made ready for another codec's codes: what it hears in them is what it heard in the old ones."""

from pathlib import Path

import pytest
import torch
import translate_codes as module
from translate_codes import translate

from melformer.config import PRESETS
from melformer.errors import RequestError
from melformer.hub import load_bundle
from melformer.hub.bundle import save_bundle
from melformer.transformer.model import BeatTransformer

TINY = PRESETS["tiny"]
SIZE, FRAMES, BOOKS = TINY.codec.codebook_size, TINY.codec.latent_frames_per_beat, TINY.codec.n_codebooks


def heard(transformer: BeatTransformer, codes: torch.Tensor) -> torch.Tensor:
    return transformer.codes.embed(transformer.pattern.to_steps(codes), transformer.pattern.present).detach()


def test_the_same_codes_under_other_numbers_are_heard_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSURE", 0.0)
    torch.manual_seed(0)
    transformer = BeatTransformer(TINY.transformer, FRAMES, SIZE)
    old = torch.randint(0, SIZE, (800, FRAMES, BOOKS))
    numbers = torch.stack([torch.randperm(SIZE) for _ in range(BOOKS)])
    new = torch.stack([numbers[q][old[..., q]] for q in range(BOOKS)], dim=-1)
    before, table = heard(transformer, old), transformer.beat_table.weight.detach().clone()
    assert (heard(transformer, new) - before).square().mean() > before.var()
    translate(transformer, old, new)
    assert (heard(transformer, new) - before).square().mean() < 0.01 * before.var()
    rows = numbers[0]
    assert torch.allclose(transformer.beat_table.weight[rows], table[:SIZE], atol=0.1)


def test_sizes_that_differ_are_refused() -> None:
    transformer = BeatTransformer(TINY.transformer, FRAMES, SIZE)
    codes = torch.zeros(2, FRAMES, BOOKS, dtype=torch.int64)
    for other in (codes[..., :1], codes[:, :2]):
        with pytest.raises(RequestError, match="same frames"):
            translate(transformer, codes, other)


def test_a_bundle_is_written_that_can_be_trained(
    loops: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from melformer.generate import Melformer

    torch.manual_seed(0)
    for name in ("first", "second"):
        model = Melformer(TINY)
        save_bundle(tmp_path / name, TINY, model.state_dict(), "# A card\n")
    first, second, out = (str(tmp_path / name) for name in ("first", "second", "out"))
    given = ["translate", first, second, str(loops[0].parent), out]
    monkeypatch.setattr("sys.argv", [*given, "--beats", "20"])
    assert module.main() == 0
    written, given_codec = (load_bundle(path).tensors["codec.encoder.pool.weight"] for path in (out, second))
    assert torch.equal(written, given_codec.half())
    monkeypatch.setattr("sys.argv", [*given[:3], str(tmp_path), str(tmp_path / "other")])
    assert module.main() == 2
    assert "translate:" in capsys.readouterr().err
