"""Where a training starts from: a trained codec, a trained transformer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.errors import CheckpointError
from melformer.hub import Bundle, load_bundle
from melformer.transformer.model import BeatTransformer


@dataclass(frozen=True)
class FrozenCodec:
    """A trained codec, its configuration, and the record of its training where it is known."""

    codec: Codec
    config: Config
    record: dict[str, Any] | None


def read_codec(name: str | Path) -> FrozenCodec:
    """A codec run's checkpoint, or the codec of a whole bundle (a folder or "user/repo"). Errors: CheckpointError."""
    folder = Path(name).expanduser()
    if (folder / "codec.safetensors").is_file():
        config = Config.load(folder / "config.json")
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        return FrozenCodec(load_codec(folder, config), config, record)
    if folder.is_dir() and not (folder / "model.safetensors").is_file():
        raise CheckpointError(f"{folder} holds neither codec.safetensors nor model.safetensors; name a checkpoint.")
    bundle = load_bundle(str(name))
    return FrozenCodec(bundle_codec(bundle), bundle.config, None)


def load_codec(folder: Path, config: Config) -> Codec:
    """A codec that `melformer train codec` has written. Errors: CheckpointError."""
    codec = Codec(config.codec)
    try:
        tensors = load_file(folder / "codec.safetensors")
        codec.load_state_dict({name: t.float() for name, t in tensors.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{folder} holds no codec for this configuration: {error}") from error
    return codec.eval()


def bundle_codec(bundle: Bundle) -> Codec:
    """The codec of a checked bundle, in 32-bit floats."""
    codec = Codec(bundle.config.codec)
    codec.load_state_dict({name: t.float() for name, t in bundle.part("codec").items()})
    return codec.eval()


def where_shapes_agree(given: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's `own` weights, but those `given` under the same name and in the same shape. Errors: CheckpointError
    where there is none."""
    taken = {name: t for name, t in given.items() if name in own and own[name].shape == t.shape}
    if not taken:
        raise CheckpointError("The checkpoint to start from shares no weight with this model; leave --init out.")
    return own | taken


def load_transformer(transformer: BeatTransformer, bundle: Bundle) -> None:
    """Give a transformer the weights of a bundle. Errors: CheckpointError when they do not fit."""
    tensors = {name: t.float() for name, t in bundle.part("transformer").items()}
    shapes = {name: t.shape for name, t in transformer.state_dict().items()}
    names = shapes.keys() | tensors.keys()
    other = [n for n in names if n not in tensors or n not in shapes or tensors[n].shape != shapes[n]]
    if other:
        raise CheckpointError(
            f"{bundle.path} cannot be started from: its {min(other)} has another shape than this codec needs. "
            "Start from it with its own codec."
        )
    transformer.load_state_dict(tensors)
