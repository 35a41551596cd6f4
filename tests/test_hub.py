"""A bundle in a folder: what is whole loads to the same bits; what is not is refused in clear words."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from melformer.config import PRESETS
from melformer.errors import CheckpointError, FormatError
from melformer.generate import Melformer
from melformer.hub import find_bundle, load_bundle, remote, save_bundle
from melformer.hub.bundle import MAX_CONFIG_BYTES, read_bundle
from melformer.hub.shapes import expected_shapes

TINY = PRESETS["tiny"]


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {n: torch.randn(shape, generator=generator) for n, shape in expected_shapes(TINY).items()}


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    return save_bundle(tmp_path / "model", TINY, tensors, "# A card\n")


def change_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    """Write the tensors again without any check; None removes one."""
    path = folder / "model.safetensors"
    tensors = load_file(path) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


def change_config(folder: Path, section: str, **changes: object) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values[section].update(changes)
    path.write_text(json.dumps(values))


def refused(folder: Path | str, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_bundle(folder)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_saved_and_loaded_are_the_same_bits(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    bundle = load_bundle(folder)
    assert bundle.config == TINY and bundle.path == folder and bundle.revision is None
    assert bundle.tensors.keys() == tensors.keys()
    assert all(torch.equal(bundle.tensors[name], tensors[name]) for name in tensors)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_parts_have_no_prefix(folder: Path) -> None:
    bundle = load_bundle(folder)
    codec, transformer = bundle.part("codec"), bundle.part("transformer")
    assert len(codec) + len(transformer) == len(bundle.tensors) and codec and transformer
    assert not any(name.startswith(("codec.", "transformer.")) for name in [*codec, *transformer])


def test_views_of_one_buffer_can_be_saved(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    name = next(n for n, tensor in tensors.items() if tensor.ndim == 2)
    buffer = torch.zeros(tensors[name].numel() + 5)
    tensors[name] = buffer[5:].view(tensors[name].shape)
    assert torch.equal(load_bundle(save_bundle(tmp_path, TINY, tensors, "")).tensors[name], tensors[name])


def test_nothing_wrong_is_saved(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    first = next(iter(tensors))
    for wrong in (tensors | {"codec.more": torch.zeros(1)}, tensors | {first: tensors[first] * torch.nan}):
        with pytest.raises(CheckpointError):
            save_bundle(tmp_path / "wrong", TINY, wrong, "")
    assert not (tmp_path / "wrong").exists()


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no folder")
    refused(tmp_path, "no config.json")
    refused(folder / "config.json", "is a file")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "no model.safetensors", "only safetensors")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', "[" * 50_000, '{"codec": 3}', '{"codec": {"dimension": 3}}',
     '{"codec": {"n_codebooks": 1e400}}', '{"codec": {"latent_dim": NaN}}',
     '{"codec": {"latent_dim": "8"}}', '{"codec": {"latent_dim": null}}', '{"transformer": {"delays": 5}}',
     '{"transformer": {"delays": ["a"]}}', '{"transformer": {"n_layers": ' + "9" * 5_000 + "}}"],
)  # fmt: skip
def test_a_config_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    refused(folder, "config.json")


@pytest.mark.parametrize(
    ("version", "words"),
    [("3", "pip install --upgrade"), ("1", "train or fine-tune it again"), ('"2"', "format 2"), ("true", "format 2")],
)
def test_a_checkpoint_of_another_format(folder: Path, version: str, words: str) -> None:
    (folder / "config.json").write_text(f'{{"version": {version}, "codec": {{"a_later_key": 1}}}}')
    with pytest.raises(FormatError, match=words) as raised:
        read_bundle(folder)
    assert str(folder / "config.json") in str(raised.value)


def test_a_config_that_is_not_text(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe\x00{")
    refused(folder, "config.json")
    (folder / "config.json").write_text(" " * (MAX_CONFIG_BYTES + 1))
    refused(folder, f"{MAX_CONFIG_BYTES:,}")


def test_giant_sizes_are_refused_before_anything_is_built(folder: Path) -> None:
    change_config(folder, "transformer", dim=10**9)
    refused(folder, "transformer.dim", "1000000000")


def test_expected_shapes_are_those_of_the_model() -> None:
    from melformer.generate import Melformer

    state = Melformer(TINY).state_dict()
    assert expected_shapes(TINY) == {name: tuple(tensor.shape) for name, tensor in state.items()}


def test_checking_does_not_load_the_compiler(folder: Path) -> None:
    """It would take seconds before every first sound."""
    program = f"import sys; from melformer.hub import load_bundle; load_bundle({str(folder)!r})"
    program += "; print('torch._dynamo' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    before = torch.get_rng_state()
    Melformer.from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_large_legal_sizes_cost_no_memory(folder: Path) -> None:
    """Legal, and 13 billion weights: they must be found missing without being made."""
    change_config(folder, "transformer", dim=4096, n_layers=64, n_heads=32, n_kv_heads=32)
    refused(folder, "does not fit its config.json")


def test_a_damaged_tensor_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for data in (b"", b"not tensors", whole[: len(whole) // 2], struct.pack("<Q", 2**60) + whole[8:]):
        path.write_bytes(data)
        refused(folder, "model.safetensors", "damaged")


def test_a_pickle_by_another_name_is_never_opened(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (pytest.fail, ("the pickle was opened",))

    torch.save(Trap(), folder / "model.safetensors")
    refused(folder, "damaged")


def test_wrong_names_shapes_and_types(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    name = sorted(tensors)[0]
    change_tensors(folder, **{name: None})
    refused(folder, name, "missing")
    change_tensors(folder, **{name: torch.zeros(7, 7, 7)})
    refused(folder, name, "[7, 7, 7]")
    change_tensors(folder, **{name: tensors[name].double()})
    refused(folder, name, "F64")
    change_tensors(folder, **{name: tensors[name], "codec.extra": torch.zeros(1)})
    refused(folder, "codec.extra")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_none(folder: Path, tensors: dict[str, torch.Tensor], value: float) -> None:
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[-1] = value
    change_tensors(folder, **{name: tensors[name]})
    refused(folder, name, "NaN or infinite")


def test_which_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_bundle(str(folder)) == (folder, None)
    monkeypatch.setenv(remote.ENVIRONMENT_VARIABLE, str(folder))
    assert find_bundle() == (folder, None)
    monkeypatch.delenv(remote.ENVIRONMENT_VARIABLE)
    monkeypatch.setattr(remote, "EMBEDDED", folder)
    assert find_bundle() == (folder, None)
    monkeypatch.setattr(remote, "EMBEDDED", folder / "none")
    with pytest.raises(CheckpointError, match="no embedded checkpoint"):
        find_bundle()
    with pytest.raises(CheckpointError, match="no revision"):
        find_bundle(folder, "v1")


def test_names_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("nothing", "a/b/c", "../x/..", "/nowhere/at/all", "a b/c", "user/", "@main", "ü/x"):
        refused(name, "user/repo")
    with pytest.raises(CheckpointError, match="contradict"):
        find_bundle("user/repo@v1", "v2")
