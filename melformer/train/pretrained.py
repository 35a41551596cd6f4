"""Where a training starts from: a trained codec, a trained transformer."""

from pathlib import Path

from torch import Tensor

from melformer.codec.codec import Codec
from melformer.errors import CheckpointError
from melformer.files import user_path
from melformer.hub import Bundle, load_bundle
from melformer.hub.codec_folder import CODEC_FILE, CodecCheckpoint, read_codec_folder
from melformer.transformer.model import BeatTransformer


def read_codec(name: str | Path) -> CodecCheckpoint:
    """A codec run's checkpoint, or the codec of a whole bundle (a folder or "user/repo"). Errors: CheckpointError."""
    folder = user_path(name)
    if (folder / CODEC_FILE).is_file():
        return read_codec_folder(folder)
    if folder.is_dir() and not (folder / "model.safetensors").is_file():
        raise CheckpointError(f"{folder} holds neither {CODEC_FILE} nor model.safetensors; name a checkpoint.")
    bundle = load_bundle(str(name))
    return CodecCheckpoint(bundle_codec(bundle), bundle.config, None, True)


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
