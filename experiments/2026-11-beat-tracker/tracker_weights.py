"""The weights of tracker and decoder: one small file beside the model's, read without torch."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from beat_network import (
    DILATIONS,
    KERNEL,
    N_METRES,
    N_OUTPUTS,
    N_TEMPI,
    STEP_FRAMES,
    UP_CHANNELS,
    Weights,
)
from decoder import N_METRE_FEATURES, N_PHASE_FEATURES
from mel import N_BANDS
from tempo_features import N_TEMPO_FEATURES

from melformer.errors import CheckpointError

WEIGHTS = Path(__file__).with_name("tracker.safetensors")
MAX_BYTES = 4_000_000


def shipped_weights() -> Weights:
    """The weights that were measured. Errors: CheckpointError."""
    return load_weights(WEIGHTS)


@lru_cache(maxsize=2)
def load_weights(path: Path) -> Weights:
    """Weights as float32. Errors: CheckpointError where the file is missing, damaged or of other sizes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise CheckpointError(f"There is no {path}: the beat tracker's weights belong there; download it again.")
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; the limit is {MAX_BYTES:,}.")
    try:
        found = {name: np.asarray(value, np.float32) for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download or copy it again.") from error
    _check(found, path)
    return found


def _check(found: Weights, path: Path) -> None:
    shapes = {name: value.shape for name, value in found.items()}
    front, dim, hidden = (shapes.get(f"{name}.bias", (1,))[0] for name in ("front1", "stem", "clip_hidden"))
    expected = expected_shapes(front, dim, hidden, shapes.get("decoder.tempo.out", (1,))[0])
    if shapes != expected:
        wrong = min(n for n in expected.keys() | shapes.keys() if expected.get(n) != shapes.get(n))
        raise CheckpointError(f"{path} does not fit this version of Melformer: {wrong}; download or train it again.")
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinite numbers; the checkpoint is damaged.")


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
