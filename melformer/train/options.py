"""The numbers of a training run, and their presets."""

from dataclasses import dataclass, fields, replace
from typing import Any

from melformer.errors import RequestError


@dataclass(frozen=True)
class TrainOptions:
    """What a run is made of. A batch is `batch_size` passages per process and micro-batch.

    Errors: RequestError for a number out of range.
    """

    steps: int = 20_000
    batch_size: int = 8
    accumulate: int = 1
    lr: float = 8e-4
    warmup_steps: int = 200
    decay_fraction: float = 0.3
    weight_decay: float = 0.01
    beta1: float = 0.8
    beta2: float = 0.99
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    validate_every: int = 250
    save_every: int = 100
    seed: int = 0
    bf16: bool = True
    track: bool = False

    def __post_init__(self) -> None:
        for item in fields(self):
            value, kind = getattr(self, item.name), type(item.default)
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise RequestError(f"{item.name} is {value!r}; it must be a {kind.__name__}.")
        for name in ("steps", "batch_size", "accumulate", "validate_every", "save_every"):
            if not 1 <= getattr(self, name) <= 10**8:
                raise RequestError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if not 0 < self.lr < 1 or not 0 <= self.ema_decay < 1 or not 0 <= self.decay_fraction <= 1:
            raise RequestError("lr must lie between 0 and 1, ema_decay and decay_fraction from 0 to 1.")
        if not 0 <= self.warmup_steps <= 10**7 or not 0 <= self.seed < 2**63 or not self.clip_norm > 0:
            raise RequestError("warmup_steps and seed cannot be negative, and clip_norm must be above 0.")

    def lr_at(self, step: int) -> float:
        """Learning rate: linear warm-up, constant, linear decay to a hundredth over the last fraction."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        left = (self.steps - step) / max(1.0, self.decay_fraction * self.steps)
        return self.lr * warm * min(1.0, max(0.01, left))


_TINY: dict[str, Any] = {
    "steps": 60, "batch_size": 4, "lr": 3e-3, "warmup_steps": 10, "ema_decay": 0.9,
    "validate_every": 30, "save_every": 30,
}  # fmt: skip
_TRANSFORMER: dict[str, Any] = {"weight_decay": 0.05, "beta1": 0.9, "beta2": 0.95, "lr": 1e-3, "steps": 10_000}
_SCORER: dict[str, Any] = {
    "steps": 2_400, "batch_size": 2, "lr": 3e-3, "warmup_steps": 0, "decay_fraction": 1.0, "weight_decay": 0.0,
    "beta1": 0.9, "beta2": 0.999, "ema_decay": 0.99, "bf16": False,
}  # fmt: skip
_LARGE: dict[str, Any] = {
    "lr": 3e-4, "warmup_steps": 1_000, "steps": 100_000, "save_every": 1_000, "validate_every": 1_000,
}  # fmt: skip
_SEPARATOR: dict[str, Any] = {
    "steps": 5_000, "batch_size": 1, "lr": 1e-3, "warmup_steps": 100, "decay_fraction": 0.5, "beta1": 0.9,
    "ema_decay": 0.995, "validate_every": 100, "bf16": False,
}  # fmt: skip
_POINTER: dict[str, Any] = {
    "steps": 2_000, "batch_size": 16, "lr": 1e-3, "warmup_steps": 100, "decay_fraction": 0.5, "weight_decay": 0.1,
    "beta1": 0.9, "beta2": 0.98, "ema_decay": 0.995, "validate_every": 100, "bf16": False,
}  # fmt: skip
_TEMPO: dict[str, Any] = {
    "steps": 20_000, "batch_size": 16, "lr": 2.5e-3, "warmup_steps": 100, "decay_fraction": 0.6, "beta1": 0.9,
    "beta2": 0.98, "ema_decay": 0.995, "validate_every": 100, "bf16": False,
}  # fmt: skip
_FEW_STEPS: dict[str, Any] = {"steps": 4, "warmup_steps": 2, "validate_every": 4, "save_every": 2}
OPTIONS: dict[tuple[str, str], TrainOptions] = {
    ("codec", "base"): TrainOptions(),
    ("codec", "tiny"): replace(TrainOptions(), **_TINY),
    ("scorer", "base"): replace(TrainOptions(), **_SCORER),
    ("transformer", "base"): replace(TrainOptions(), **_TRANSFORMER),
    ("codec", "large"): replace(TrainOptions(), **_LARGE),
    ("scorer", "large"): replace(TrainOptions(), **(_SCORER | {"steps": 8_000})),
    ("transformer", "large"): replace(TrainOptions(), **(_TRANSFORMER | _LARGE)),
    ("scorer", "tiny"): replace(TrainOptions(), **(_SCORER | _TINY)),
    ("transformer", "tiny"): replace(TrainOptions(), **(_TRANSFORMER | _TINY)),
    ("separator", "base"): replace(TrainOptions(), **_SEPARATOR),
    ("separator", "large"): replace(TrainOptions(), **(_SEPARATOR | {"steps": 100_000, "batch_size": 8})),
    ("separator", "tiny"): replace(TrainOptions(), **(_SEPARATOR | _FEW_STEPS)),
    ("pointer", "base"): replace(TrainOptions(), **_POINTER),
    ("pointer", "large"): replace(TrainOptions(), **(_POINTER | {"steps": 50_000, "batch_size": 64})),
    ("pointer", "tiny"): replace(TrainOptions(), **(_POINTER | _FEW_STEPS | {"batch_size": 2})),
    ("tempo", "base"): replace(TrainOptions(), **_TEMPO),
    ("tempo", "large"): replace(TrainOptions(), **(_TEMPO | {"steps": 50_000, "batch_size": 64})),
    ("tempo", "tiny"): replace(TrainOptions(), **(_TEMPO | _FEW_STEPS | {"batch_size": 2})),
}
"""Options of each stage and preset of `config.PRESETS`."""
