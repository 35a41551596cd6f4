"""The weights of beat network and decoder: one small file beside a model's others, read without torch."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.mel import N_BANDS
from melformer.audio.tempo.beat_network import (
    DILATIONS,
    KERNEL,
    N_METRES,
    N_OUTPUTS,
    N_TEMPI,
    STEP_FRAMES,
    UP_CHANNELS,
    Weights,
)
from melformer.audio.tempo.decoder import N_METRE_FEATURES, N_PHASE_FEATURES
from melformer.audio.tempo.tempo_features import N_TEMPO_FEATURES
from melformer.errors import CheckpointError
from melformer.files import shipped_folder

TRACKER_FILE = "tracker.safetensors"
MAX_BYTES = 4_000_000
MAX_WEIGHT = 1e4  # no float overflows on the way through the network


@lru_cache(maxsize=1)
def shipped_weights() -> Weights:
    """The weights of the embedded checkpoint. Errors: CheckpointError."""
    return read_weights(shipped_folder("checkpoints") / TRACKER_FILE)


def read_weights(path: Path) -> Weights:
    """Weights as float32. Errors: CheckpointError where the file is missing, damaged or of other sizes."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(
            f"There is no {path}; download the checkpoint again, or train one: `melformer train tempo`."
        )
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; the limit is {MAX_BYTES:,}.")
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            _check_kinds({name: file.get_slice(name) for name in names}, path)
            found = {name: np.asarray(file.get_tensor(name), np.float32) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download or copy it again.") from error
    for name, value in found.items():
        if not np.abs(value).max() <= MAX_WEIGHT or (name.endswith(".scale") and value.min() <= 0.0):
            raise CheckpointError(f"{path}: {name} holds NaN or impossible numbers; the checkpoint is damaged.")
    return found


def _check_kinds(slices: dict[str, Any], path: Path) -> None:
    """Errors: CheckpointError for other tensors than those of a tracker, as wide as its biases say."""
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    widths = (shapes.get(name, ()) for name in ("front1.bias", "stem.bias", "clip_hidden.bias", "decoder.tempo.out"))
    expected = expected_shapes(*(max(1, *shape) if shape else 1 for shape in widths))
    wrong = [n for n in expected.keys() | shapes.keys() if expected.get(n) != shapes.get(n)]
    wrong += [name for name, part in slices.items() if part.get_dtype() not in ("F16", "F32")]
    if wrong:
        raise CheckpointError(
            f"{path} does not fit this version of Melformer: {min(wrong)}; download or train it again."
        )


def expected_shapes(front: int, dim: int, hidden: int, decoder_hidden: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a tracker of these widths."""
    layers: dict[str, tuple[int, ...]] = {
        "front1": (front, N_BANDS, 3), "front2": (front, front, 3), "stem": (dim, front * STEP_FRAMES, 1),
        "up": (UP_CHANNELS * STEP_FRAMES, dim, 1), "frame_out": (N_OUTPUTS, UP_CHANNELS + front, 1),
        "clip_hidden": (hidden, 2 * dim), "tempo_out": (N_TEMPI, hidden), "metre_out": (N_METRES, hidden),
    }  # fmt: skip
    for i in range(len(DILATIONS)):
        layers |= {f"blocks.{i}.conv": (dim, dim, KERNEL), f"blocks.{i}.out": (dim, dim, 1)}
    k, h = N_TEMPO_FEATURES, decoder_hidden
    decoder: dict[str, tuple[int, ...]] = {
        "tempo.mean": (k,), "tempo.scale": (k,), "tempo.linear": (k,), "tempo.hidden": (k, h),
        "tempo.hidden_bias": (h,), "tempo.out": (h,), "tempo.bias": (1,), "phase.weight": (N_PHASE_FEATURES,),
        "metre.weight": (N_METRE_FEATURES,),
        **{f"{name}.calibration": (2,) for name in ("tempo", "phase", "metre", "downbeat")},
    }  # fmt: skip
    return {
        **{f"{name}.weight": shape for name, shape in layers.items()},
        **{f"{name}.bias": shape[:1] for name, shape in layers.items()},
        **{f"blocks.{i}.gain": (dim,) for i in range(len(DILATIONS))},
        **{f"decoder.{name}": shape for name, shape in decoder.items()},
    }
