"""Every size and default of a model, written once; saved as JSON beside the weights."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from melformer.errors import ConfigError, MelformerError
from melformer.files import check_format

VERSION = 2
"""Of the configuration's format; a checkpoint and a training run carry it."""
SEGMENTS = 4
"""Parts of a beat that have partials of their own."""
LEVEL_BIN = 32
"""The STFT bin where the higher of the two levels begins: 1 kHz at 120 BPM, 512 cycles a beat."""


def _check_range(section: str, name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"{section}.{name} is {value!r}; it must be a number from {low} to {high}.")


def _check_whole(section: str, name: str, value: float) -> None:
    if not isinstance(value, int):
        raise ConfigError(f"{section}.{name} is {value!r}; it must be a whole number.")


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of the VQ-VAE. `frames_per_beat` STFT frames make `latent_frames_per_beat` latent frames.

    `samples_per_beat` is the grid that beats are encoded from and decoded on, `n_fft` the length of its windows.
    The last `n_registers` of the codebooks hold partials, the one before them holds levels, and the others are learned
    residual ones. `n_source_bands` is the number of bands that the scorer of sources tells apart.
    """

    samples_per_beat: int = 24_000
    frames_per_beat: int = 80
    n_fft: int = 1_500
    latent_frames_per_beat: int = 16
    n_codebooks: int = 8
    n_registers: int = 4
    codebook_size: int = 1_024
    codebook_dim: int = 8
    latent_dim: int = 384
    frame_dim: int = 384
    n_encoder_layers: int = 2
    n_encoder_latent_layers: int = 2
    n_decoder_layers: int = 5
    n_decoder_latent_layers: int = 3
    expansion: int = 3
    kernel_size: int = 7
    lookahead_frames: int = 1
    n_source_bands: int = 24
    source_dim: int = 24

    LIMITS = {
        "samples_per_beat": (6_000, 40_000), "frames_per_beat": (8, 160), "n_fft": (100, 12_000),
        "latent_frames_per_beat": (SEGMENTS, 160), "n_codebooks": (3, 32), "n_registers": (1, 8),
        "codebook_size": (8, 16_384), "codebook_dim": (2, 64), "latent_dim": (8, 2_048),
        "frame_dim": (8, 2_048), "n_encoder_layers": (0, 24), "n_encoder_latent_layers": (0, 24),
        "n_decoder_layers": (0, 24), "n_decoder_latent_layers": (0, 24), "expansion": (1, 8),
        "kernel_size": (1, 31), "lookahead_frames": (1, 8), "n_source_bands": (1, 32), "source_dim": (4, 256),
    }  # fmt: skip

    def __post_init__(self) -> None:
        _check_fields(self, "codec")
        if self.samples_per_beat % self.frames_per_beat or self.frames_per_beat % self.latent_frames_per_beat:
            raise ConfigError(
                f"codec: {self.samples_per_beat} samples, {self.frames_per_beat} frames and "
                f"{self.latent_frames_per_beat} latent frames per beat must divide each other exactly."
            )
        if self.n_fft % self.hop_length or self.n_fft // self.hop_length % 2 == 0:
            raise ConfigError(f"codec.n_fft {self.n_fft} must be an odd multiple of the hop {self.hop_length}.")
        if self.n_fft % 2 or self.n_bins <= LEVEL_BIN or self.kernel_size % 2 == 0:
            raise ConfigError(f"codec: n_fft must be even and above {2 * LEVEL_BIN}, and kernel_size odd.")
        if self.n_codebooks < self.n_registers + 2:
            raise ConfigError(
                f"codec.n_codebooks {self.n_codebooks} is too few for {self.n_registers} registers of partials, one of "
                f"levels and a learned one: there must be {self.n_registers + 2} or more."
            )
        if self.latent_frames_per_beat % SEGMENTS:
            raise ConfigError(f"codec.latent_frames_per_beat must be a multiple of {SEGMENTS}.")
        if 2 * SEGMENTS * self.lookahead_frames > self.latent_frames_per_beat:
            raise ConfigError(
                f"codec.lookahead_frames must be 1 to {self.latent_frames_per_beat // (2 * SEGMENTS)} where a beat has "
                f"{self.latent_frames_per_beat} latent frames."
            )

    @property
    def hop_length(self) -> int:
        """Samples from one STFT frame to the next."""
        return self.samples_per_beat // self.frames_per_beat

    @property
    def n_bins(self) -> int:
        """STFT bins: all but the one at half the grid's rate."""
        return self.n_fft // 2

    @property
    def stride(self) -> int:
        """STFT frames per latent frame."""
        return self.frames_per_beat // self.latent_frames_per_beat

    @property
    def per_segment(self) -> int:
        """Latent frames in the part of a beat that has partials of its own: each says one partial per register."""
        return self.latent_frames_per_beat // SEGMENTS


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the language model over beats: a beat level, and a small in-beat level."""

    dim: int = 384
    n_layers: int = 5
    n_heads: int = 6
    n_kv_heads: int = 2
    context_beats: int = 128
    beat_dim: int = 256
    n_beat_layers: int = 3
    n_beat_heads: int = 4
    n_beat_kv_heads: int = 2
    embedding_dim: int = 16
    pointer_dim: int = 64
    hidden_multiple: int = 32
    delays: tuple[int, ...] = (0, 1, 2, 2, 3, 3, 3, 3)
    rope_base: float = 10_000.0
    dropout: float = 0.1

    LIMITS = {
        "dim": (8, 4_096), "n_layers": (1, 64), "n_heads": (1, 64), "n_kv_heads": (1, 64),
        "context_beats": (4, 4_096), "beat_dim": (8, 2_048), "n_beat_layers": (1, 32),
        "n_beat_heads": (1, 64), "n_beat_kv_heads": (1, 64), "embedding_dim": (1, 512),
        "pointer_dim": (4, 512), "hidden_multiple": (1, 1_024), "rope_base": (10, 1e8), "dropout": (0, 0.9),
    }  # fmt: skip

    def __post_init__(self) -> None:
        if not isinstance(self.delays, (list, tuple)):
            raise ConfigError(f"transformer.delays is {self.delays!r}; it must be a list of whole numbers.")
        object.__setattr__(self, "delays", tuple(self.delays))
        _check_fields(self, "transformer")
        for dim, heads, kv_heads in (
            (self.dim, self.n_heads, self.n_kv_heads),
            (self.beat_dim, self.n_beat_heads, self.n_beat_kv_heads),
        ):
            if dim % heads or heads % kv_heads or dim // heads % 2:
                raise ConfigError(
                    f"transformer: {heads} heads must divide the width {dim} into even parts, and "
                    f"{kv_heads} key-value heads must divide the heads."
                )
        steps = list(self.delays)
        if not steps or steps[0] != 0 or steps != sorted(steps) or steps[-1] > 16:
            raise ConfigError(f"transformer.delays {steps} must start at 0, never fall, and stay within 16.")


@dataclass(frozen=True)
class Config:
    """A whole model: codec, transformer, and what a checkpoint says of itself."""

    codec: CodecConfig = field(default_factory=CodecConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_version(self.version)
        if len(self.transformer.delays) != self.codec.n_codebooks:
            raise ConfigError(
                f"transformer.delays names {len(self.transformer.delays)} codebooks, the codec has "
                f"{self.codec.n_codebooks}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Any) -> "Config":
        """Build from `to_dict`'s form. Errors: ConfigError for an unknown key or a value out of range;
        FormatError for another version."""
        sections = {"codec": CodecConfig, "transformer": TransformerConfig}
        if isinstance(values, dict):  # first of all: another format may have other keys
            _check_version(values.get("version", VERSION))
        values = dict(_known("config", values, {"codec", "transformer", "version"}))
        for name, section in sections.items():
            if name in values:
                known = {f.name for f in dataclasses.fields(section)}
                values[name] = section(**_known(name, values[name], known))
        return cls(**values)

    @classmethod
    def load(cls, path: str | Path) -> "Config":
        """Read a JSON file. Errors: ConfigError when it is missing, no JSON, or out of range;
        FormatError for another version."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            return cls.from_dict(json.loads(text))
        except MelformerError:
            raise
        except (OSError, ValueError, RecursionError) as error:  # ValueError: no text, no JSON, a number of 5,000 digits
            raise ConfigError(f"{path} is no readable configuration: {error}") from error


def _check_version(version: Any) -> None:
    remedy = "train or fine-tune it again, or download it again with `melformer hub pull`."
    check_format("This checkpoint or training run", version, VERSION, remedy)


def _known(section: str, values: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{section} must be a table of names and values, not {type(values).__name__}.")
    unknown = sorted(set(values) - names)
    if unknown:
        raise ConfigError(f"{section} has the unknown key {unknown[0]!r}; known keys are {sorted(names)}.")
    return values


def _check_fields(config: Any, section: str) -> None:
    for name, limits in config.LIMITS.items():
        value = getattr(config, name)
        _check_range(section, name, value, *limits)
        default = next(f.default for f in dataclasses.fields(config) if f.name == name)
        if isinstance(default, int):
            _check_whole(section, name, value)
        if not math.isfinite(value):
            raise ConfigError(f"{section}.{name} is {value!r}; it must be finite.")
    for step in getattr(config, "delays", ()):
        _check_range(section, "delays", step, 0, 16)
        _check_whole(section, "delays", step)


PRESETS: dict[str, Config] = {
    "base": Config(),
    "large": Config(
        codec=CodecConfig(
            latent_dim=704, frame_dim=704, n_encoder_layers=3, n_encoder_latent_layers=3, n_decoder_layers=8,
        ),
        transformer=TransformerConfig(
            dim=1_280, n_layers=15, n_heads=20, n_kv_heads=4, beat_dim=640, n_beat_layers=6, n_beat_heads=10,
            n_beat_kv_heads=2, embedding_dim=24, pointer_dim=160,
        ),
    ),
    "tiny": Config(
        codec=CodecConfig(
            n_codebooks=3, n_registers=1, codebook_size=64, latent_dim=32, frame_dim=32, n_encoder_layers=1,
            n_encoder_latent_layers=1, n_decoder_layers=1, n_decoder_latent_layers=1, n_source_bands=6, source_dim=8,
        ),
        transformer=TransformerConfig(
            dim=32, n_layers=2, n_heads=4, n_kv_heads=2, context_beats=32, beat_dim=32, n_beat_layers=1,
            n_beat_heads=4, n_beat_kv_heads=2, embedding_dim=8, pointer_dim=16, delays=(0, 1, 1), dropout=0.0,
        ),
    ),
}  # fmt: skip
"""`base` is what ships, and what trains by default; `tiny` has the same parts and trains in a minute, for tests;
`large` (59 + 297 M parameters) wants graphics cards."""
