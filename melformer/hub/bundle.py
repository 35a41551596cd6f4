"""A bundle on disk: a folder with `config.json`, `model.safetensors` and a model card in `README.md`.

A bundle may come from a stranger, so nothing in it is trusted: the configuration is range-checked before
anything is built, tensors are compared with what that configuration needs before they are read, and only
safetensors are opened (a pickle can run code).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from melformer.audio.tempo.tracker_weights import TRACKER_FILE
from melformer.config import Config
from melformer.errors import CheckpointError, ConfigError, FormatError
from melformer.files import atomic_path, write_tensors
from melformer.hub.shapes import expected_shapes

CONFIG_FILE, TENSORS_FILE, CARD_FILE = FILES = ("config.json", "model.safetensors", "README.md")
PART_FILES = ("separator.safetensors", "pointer.safetensors", TRACKER_FILE)
"""Networks of their own that may stand beside a model; see `melformer.hub.parts`."""
MAX_CONFIG_BYTES = 100_000
DTYPES = ("F32", "F16", "BF16", "I64")


@dataclass(frozen=True)
class Bundle:
    """A checked model: its configuration and every tensor it needs, named `codec.*` and `transformer.*`.

    `revision` is the Hub's commit for a downloaded bundle, None for a folder.
    """

    config: Config
    tensors: dict[str, Tensor]
    path: Path
    revision: str | None = None

    def part(self, name: str) -> dict[str, Tensor]:
        """The state dict of one part ("codec" or "transformer"), without its prefix."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}


def half_precision(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Tensors as a bundle keeps them: floats in 16 bits, everything else as it is; names begin with `prefix`."""
    return {f"{prefix}{name}": t.half() if t.is_floating_point() else t for name, t in tensors.items()}


def save_bundle(directory: str | Path, config: Config, tensors: Mapping[str, Tensor], card: str) -> Path:
    """Write a bundle into `directory`; each file is whole or absent. Returns the folder.

    Errors: CheckpointError when the tensors are not those that the configuration needs, or not finite.
    """
    directory = Path(directory)
    _check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, config, directory)
    _check_finite(tensors, directory)
    write_tensors(directory / TENSORS_FILE, tensors, {"format": "pt"})
    with atomic_path(directory / CONFIG_FILE) as path:
        path.write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
    with atomic_path(directory / CARD_FILE) as path:
        path.write_text(card, encoding="utf-8")
    return directory


def read_bundle(directory: str | Path, revision: str | None = None) -> Bundle:
    """Check a folder strictly and read it; `revision` is only remembered.

    Errors: CheckpointError, naming the file and the fault, for anything missing, damaged or unexpected.
    """
    path = Path(directory)
    config = read_config(path / CONFIG_FILE)
    return Bundle(config, _read_tensors(path / TENSORS_FILE, config), path, revision)


def read_config(path: Path) -> Config:
    """Read a stranger's `config.json`. Errors: CheckpointError: missing, too large, no JSON, out of
    range; FormatError: of another version of Melformer."""
    if not path.is_file():
        raise CheckpointError(f"{path.parent} is no checkpoint: it has no {path.name}.")
    n_bytes = path.stat().st_size
    if n_bytes > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path} has {n_bytes:,} bytes; the limit is {MAX_CONFIG_BYTES:,}.")
    try:
        return Config.load(path)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except ConfigError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error


def _read_tensors(path: Path, config: Config) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {path.name}; only safetensors checkpoints are opened.")
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            for name, part in slices.items():
                if part.get_dtype() not in DTYPES:
                    raise CheckpointError(
                        f"{path}: {name} has the type {part.get_dtype()}; known are {', '.join(DTYPES)}."
                    )
            _check_shapes({name: tuple(part.get_shape()) for name, part in slices.items()}, config, path)
            tensors = {name: file.get_tensor(name) for name in slices}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download or copy it again.") from error
    _check_finite(tensors, path)
    return tensors


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], config: Config, path: Path) -> None:
    expected = expected_shapes(config)
    missing, extra = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    fault = ""
    if missing:
        fault = f"{missing[0]} is missing ({len(missing)} of {len(expected)} tensors are)"
    elif extra:
        fault = f"{extra[0]} belongs to no such model ({len(extra)} tensors do not)"
    else:
        for name, shape in shapes.items():
            if shape != expected[name]:
                fault = f"{name} has the shape {list(shape)} instead of {list(expected[name])}"
                break
    if fault:
        raise CheckpointError(f"{path} does not fit its {CONFIG_FILE}: {fault}. Take both from one place.")


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        # The extremes show every NaN and infinity, and cost a tenth of `isfinite`.
        if tensor.is_floating_point() and not all(torch.isfinite(edge) for edge in tensor.aminmax()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinite numbers; the checkpoint is damaged.")
