"""Small networks that stand beside a model in files of their own: the separator, the pointer, the beat tracker.

They know nothing of a model's codes, so one serves every model: a bundle without a part uses the embedded one.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import nn

from melformer.audio.tempo.beat_network import Weights
from melformer.audio.tempo.tracker_weights import TRACKER_FILE, read_weights
from melformer.errors import CheckpointError, ConfigError
from melformer.files import write_tensors
from melformer.hub.bundle import PART_FILES
from melformer.hub.remote import EMBEDDED
from melformer.hub.shapes import WithoutDrawing
from melformer.stems.separator import Separator, SeparatorConfig
from melformer.transformer.pointer import Pointer, PointerConfig

SEPARATOR_FILE, POINTER_FILE, _ = PART_FILES
MAX_CONFIG_BYTES = 10_000
T = TypeVar("T", Separator, Pointer)


def load_separator(folder: Path) -> Separator:
    """The separator of a bundle's folder, else the embedded one. Errors: CheckpointError."""
    return _load(folder, SEPARATOR_FILE, Separator, SeparatorConfig)


def load_pointer(folder: Path) -> Pointer:
    """The pointer of a bundle's folder, else the embedded one. Errors: CheckpointError."""
    return _load(folder, POINTER_FILE, Pointer, PointerConfig)


def load_tracker(folder: Path) -> Weights:
    """The beat tracker of a bundle's folder, else the embedded one. Errors: CheckpointError."""
    return read_weights(part_file(folder, TRACKER_FILE))


def save_part(path: Path, part: Separator | Pointer) -> None:
    """Write one part in 16-bit floats, its sizes in the file's metadata; whole or not at all."""
    tensors = {name: t.half() for name, t in part.state_dict().items()}
    write_tensors(path, tensors, {"format": "pt", "config": json.dumps(asdict(part.config))})


def part_file(folder: Path, file: str) -> Path:
    """Where a part of a bundle lies: in its folder, else embedded. Errors: CheckpointError."""
    path = folder / file if (folder / file).is_file() else EMBEDDED / file
    if not path.is_file():
        raise CheckpointError(f"There is no {file} in {folder}, and none is embedded; train one or pull a checkpoint.")
    return path


def _load(folder: Path, file: str, kind: type[T], config_kind: type) -> T:
    path = part_file(folder, file)
    try:
        with safe_open(path, framework="pt") as opened:
            config = _read_config((opened.metadata() or {}).get("config", ""), config_kind, path)
            with WithoutDrawing():
                part = kind(config)
            expected = {name: tuple(t.shape) for name, t in part.state_dict().items()}
            found = {name: tuple(opened.get_slice(name).get_shape()) for name in list(opened.keys())}
            if found != expected:
                wrong = min(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
                raise CheckpointError(f"{path} does not fit its own sizes: {wrong}; download or train it again.")
            tensors = {name: opened.get_tensor(name).float() for name in expected}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download or copy it again.") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinite numbers; the checkpoint is damaged.")
    part.load_state_dict(tensors, assign=True)
    return _ready(part)


def _ready(part: T) -> T:
    assert isinstance(part, nn.Module)
    return part.eval().requires_grad_(False)


def _read_config(text: str, kind: type, path: Path) -> Any:
    """A part's sizes from a stranger's metadata. Errors: CheckpointError."""
    try:
        values = json.loads(text) if len(text) <= MAX_CONFIG_BYTES else None
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(kind)}:
            raise ValueError("its sizes are missing or of another version")
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
    except (ValueError, TypeError, ConfigError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
