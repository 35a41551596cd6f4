"""A codec alone on disk, as its training leaves it: `config.json`, `codec.safetensors` and `record.json`.

The file holds the scorer of sources only once that has been trained: `melformer train scorer` adds it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.errors import CheckpointError
from melformer.files import atomic_path, write_tensors

CODEC_FILE, RECORD_FILE = "codec.safetensors", "record.json"


@dataclass(frozen=True)
class CodecCheckpoint:
    """A trained codec in 32-bit floats, the configuration of its model, the records of its training (one for each part
    that was trained, None where they are not known), and whether its scorer has been trained."""

    codec: Codec
    config: Config
    records: dict[str, dict[str, Any]] | None
    has_scorer: bool


def save_codec(
    folder: Path, config: Config, codec: Codec, records: dict[str, dict[str, Any]], with_scorer: bool
) -> None:
    """Write a codec's folder; each file is whole or absent. Floats are kept in 16 bits."""
    tensors = {
        name: t.half() if t.is_floating_point() else t
        for name, t in codec.state_dict().items() if with_scorer or not name.startswith("scorer.")
    }  # fmt: skip
    write_tensors(folder / CODEC_FILE, tensors)
    for name, values in (("config.json", config.to_dict()), (RECORD_FILE, records)):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_codec_folder(folder: Path) -> CodecCheckpoint:
    """Read what `save_codec` wrote. Errors: CheckpointError, ConfigError for a folder that holds no such codec."""
    config = Config.load(folder / "config.json")
    codec = Codec(config.codec)
    try:
        records = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / CODEC_FILE)
        missing, extra = codec.load_state_dict({name: t.float() for name, t in tensors.items()}, strict=False)
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{folder} holds no codec that fits its config.json: {error}") from error
    wrong = [*extra, *(name for name in missing if not name.startswith("scorer."))]
    if wrong:
        raise CheckpointError(f"{folder} holds no codec that fits its config.json: see {wrong[0]}")
    return CodecCheckpoint(codec.eval(), config, records, not missing)
