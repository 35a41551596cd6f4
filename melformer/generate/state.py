"""A stream put to sleep: every tensor and number it needs to go on, in one safetensors file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from melformer.audio.grid import BeatGrid, check_bpm
from melformer.audio.io import Waveform
from melformer.audio.tempo import Tempo
from melformer.errors import RequestError
from melformer.files import check_format, write_tensors
from melformer.generate.generation_config import GenerationConfig, check_draws
from melformer.generate.loop_stems import LoopStems
from melformer.generate.planning.plan_options import PlanOptions
from melformer.generate.prompt import MAX_BEATS, MIN_BEATS, Prompt
from melformer.stems.stems import STEMS, Stems
from melformer.stems.units import UnitChoice
from melformer.transformer.pointer import UNSHIFTED, Pointer

if TYPE_CHECKING:
    from melformer.codec.codec import Codec
    from melformer.generate.stream import BeatStream

_TEMPO_NUMBERS = ("bpm", "confidence", "start_s", "start_confidence")
VERSION = 11
_NONE = -1
"""Where there is no choice, and for drums that are not cut."""
MAX_HELD = 4096
"""Units: a phrase of bars of 16 beats has fewer."""


@dataclass(frozen=True)
class StreamState:
    """A stopped stream. `tensors` and `facts` are its own affair; save it, load it, and resume it."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write one file, whole or not at all. Errors: OSError."""
        write_tensors(path, self.tensors, {"melformer_stream": json.dumps(self.facts)})

    @classmethod
    def load(cls, path: str | Path) -> "StreamState":
        """Read what `save` wrote. Errors: RequestError for any other file, FormatError for one of another version."""
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["melformer_stream"])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
            raise RequestError(f"{path} is no saved stream: {error}") from error
        if not isinstance(facts, dict):
            raise RequestError(f"{path} is no saved stream: it tells nothing about itself.")
        remedy = "continue the loop again, or resume it with the version that saved it."
        check_format(f"The saved stream {path}", facts.get("version"), VERSION, remedy)
        return cls(tensors, facts)


def capture(stream: "BeatStream") -> StreamState:
    """Copy the state of a stream."""
    prompt, planner = stream.prompt, stream.planner
    tensors = {f"stems.{name}": torch.from_numpy(stream.loop.stems[name].samples) for name in stream.loop.stems.present}
    tensors["prompt.samples"] = torch.from_numpy(prompt.waveform.samples)
    tensors["prompt.codes"] = torch.from_numpy(prompt.codes)
    tensors["choices"], tensors["held"] = _as_tensor(stream.choices), _as_tensor(stream.held)
    tensors["kept"] = torch.tensor(stream.kept, dtype=torch.bool).reshape(-1, 3)
    for i, cache in enumerate(planner.state.caches):
        tensors |= {f"caches.{i}.keys": cache.keys, f"caches.{i}.values": cache.values}
    read = planner.state
    if read.last is not None and read.keys is not None and read.half_keys is not None:
        tensors |= {"last": read.last, "keys": read.keys, "half_keys": read.half_keys}
    if stream.join is not None:
        tensors["join"] = torch.from_numpy(stream.join)
    facts = {
        "version": VERSION, "kind": "stems", "seed": stream.seed, "config": asdict(stream.config),
        "index": stream.index, "line_nats": list(stream.line_nats),
        "asked": None if stream.asked is None else [stream.asked[0], asdict(stream.asked[1])],
        "sample_rate": prompt.waveform.sample_rate,
        "tempo": {name: getattr(prompt.tempo, name) for name in (*_TEMPO_NUMBERS, "source")},
        "prompt": {n: getattr(prompt, n) for n in ("bpm", "n_beats", "beats_per_bar", "messages", "name")},
    }  # fmt: skip
    return StreamState({name: t.contiguous().clone().cpu() for name, t in tensors.items()}, facts)


def _as_tensor(units: Iterable[Sequence[UnitChoice | None]]) -> Tensor:
    """Source, shift, silence and second half of every choice: int32 (n, 3, 4)."""
    rows = [[[_NONE] * 4 if choice is None else _row(choice) for choice in unit] for unit in units]
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 3, 4)


def _row(choice: UnitChoice) -> list[int]:
    return [choice.source, choice.shift, choice.silent, _NONE if choice.second is None else choice.second]


def restore(pointer: Pointer, codec: "Codec", state: StreamState) -> "BeatStream":
    """Build the stream again. Errors: RequestError when the state is damaged or does not fit this model."""
    from melformer.generate.stream import BeatStream

    if state.facts.get("kind") != "stems":
        raise wrong("it is of another kind")
    tensors, facts = {name: t.clone() for name, t in state.tensors.items()}, state.facts
    prompt, seed = read_prompt(facts, tensors, codec), whole(facts, "seed", 0, 2**63 - 1)
    config = _read(facts.get("config"), GenerationConfig)
    stream = BeatStream(LoopStems(prompt, _read_stems(tensors, prompt)), pointer, codec, config, None, seed)
    stream.index = whole(facts, "index", 0, MAX_INDEX)
    _restore_choices(stream, tensors)
    _restore_planner(stream, tensors)
    lines, asked = facts.get("line_nats"), facts.get("asked")
    if (
        not isinstance(lines, list)
        or len(lines) != -(-len(stream.choices) // stream.loop.bar)
        or not all(map(_is_number, lines))
    ):
        raise wrong("its bars are unclear")
    stream.line_nats = list(lines)
    if asked is not None:
        if not isinstance(asked, list) or len(asked) != 2 or not isinstance(asked[0], int):
            raise wrong("its bar is unclear")
        options = _read(asked[1], PlanOptions)
        stream.asked = (asked[0], replace(options, draws=check_draws(options.draws)))
    if stream.index:
        shape = (stream.mixer.n_join, prompt.waveform.n_channels)
        stream.join = check_tensor("join", take(tensors, "join"), shape).numpy()
    return stream


def _read(told: Any, kind: type) -> Any:
    """A config of numbers and lists. Errors: RequestError."""
    if not isinstance(told, dict) or told.keys() != vars(kind()).keys():
        raise wrong("its settings are unknown")
    for name, default in vars(kind()).items():
        value = told[name]
        if not _is_like(value, default):
            raise wrong(f"its {name} is {str(value)[:40]}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()})


def _read_stems(tensors: dict[str, Tensor], prompt: Prompt) -> Stems:
    samples = prompt.waveform.samples
    found = {
        name: Waveform(check_tensor(name, tensors[f"stems.{name}"], samples.shape).numpy(), prompt.waveform.sample_rate)
        for name in STEMS if f"stems.{name}" in tensors
    }  # fmt: skip
    silence = Waveform(np.zeros_like(samples), prompt.waveform.sample_rate)
    return Stems(*(found.get(name, silence) for name in STEMS))


def _restore_choices(stream: "BeatStream", tensors: dict[str, Tensor]) -> None:
    choices, kept = take(tensors, "choices"), take(tensors, "kept")
    n, per_beat = len(choices), stream.loop.units_per_beat
    check_tensor("choices", choices, (n, 3, 4), torch.int32)
    check_tensor("kept", kept, (n, 3), torch.bool)
    least, most = stream.index * per_beat, (stream.index + 2) * per_beat + 64
    if not (least <= n <= most) or (stream.index and n < least + 1):
        raise wrong("it holds too few choices, or too many")
    if not bool(_are_inside(choices, stream.loop.n_units).all()):
        raise wrong("its choices point outside its loop")
    stream.choices.extend(read_choices(choices))
    stream.kept.extend(tuple(unit) for unit in kept.tolist())
    held = take(tensors, "held")
    check_tensor("held", held, (len(held), 3, 4), torch.int32)
    free = (held == _NONE).all(dim=2)
    if len(held) > MAX_HELD or not bool((free | _are_inside(held, stream.loop.n_units)).all()):
        raise wrong("what its stems hold is unclear")
    stream.held.extend(
        tuple(None if is_free else choice for choice, is_free in zip(unit, marks))
        for unit, marks in zip(read_choices(held), free.tolist())
    )


def _are_inside(choices: Tensor, n_units: int) -> Tensor:
    source, shift, silent, second = choices.unbind(dim=2)
    is_half = (second >= _NONE) & (second < 2 * n_units)
    return (source >= 0) & (source < n_units) & (shift.abs() <= UNSHIFTED) & (silent >= 0) & (silent <= 1) & is_half


def read_choices(choices: Tensor) -> list[tuple[UnitChoice, ...]]:
    """What `capture` wrote of a stream's choices."""
    return [
        tuple(UnitChoice(i, shift, bool(silent), None if half == _NONE else half) for i, shift, silent, half in unit)
        for unit in choices.tolist()
    ]


def _restore_planner(stream: "BeatStream", tensors: dict[str, Tensor]) -> None:
    """All that is counted follows from the choices."""
    state, n = stream.planner.state, len(stream.choices)
    for i, cache in enumerate(state.caches):
        for name in ("keys", "values"):
            own = getattr(cache, name)
            setattr(cache, name, check_tensor(f"caches.{i}.{name}", take(tensors, f"caches.{i}.{name}"), own.shape))
    if not n:
        return
    config = stream.planner.pointer.config
    state.last = check_tensor("last", take(tensors, "last"), (1, 1, config.dim))
    n_units = stream.loop.n_units
    state.keys = check_tensor("keys", take(tensors, "keys"), (1, 3, n_units, config.key_dim))
    state.half_keys = check_tensor("half_keys", take(tensors, "half_keys"), (1, 2 * n_units, config.key_dim))
    chosen = np.array([[[choice.source, choice.shift] for choice in unit] for unit in stream.choices], np.int64)
    kept = stream.planner.n_remembered
    state.n_planned = n
    state.sources = np.concatenate([state.sources, chosen[..., 0]])[-kept:]
    state.shifts = np.concatenate([state.shifts, chosen[..., 1] + UNSHIFTED])[-kept:]


MAX_INDEX = 10**7


def wrong(what: str) -> RequestError:
    return RequestError(f"This saved stream is damaged, or another model's: {what}.")


def whole(facts: dict[str, Any], name: str, low: int, high: int) -> int:
    """A whole number of the facts, in range. Errors: RequestError."""
    value = facts.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(f"its {name} is {str(value)[:40]}")
    return value


def read_prompt(facts: dict[str, Any], tensors: dict[str, Tensor], codec: Any) -> Prompt:
    """The prompt of a saved stream. Errors: RequestError, AudioError, TempoError."""
    told, tempo = facts.get("prompt"), facts.get("tempo")
    if not isinstance(told, dict) or not isinstance(tempo, dict):
        raise wrong("it does not tell its loop")
    unknown = tempo.keys() ^ {*_TEMPO_NUMBERS, "source"}
    if unknown or not isinstance(tempo["source"], str) or not all(_is_number(tempo[name]) for name in _TEMPO_NUMBERS):
        raise wrong("its tempo is unclear")
    messages = told.get("messages")
    if not isinstance(messages, list) or not all(isinstance(text, str) for text in [*messages, told.get("name")]):
        raise wrong("its loop has no name")
    bpm, n_beats = check_bpm(told.get("bpm", 0)), whole(told, "n_beats", MIN_BEATS, MAX_BEATS)
    samples, codes = (take(tensors, f"prompt.{name}") for name in ("samples", "codes"))
    waveform = Waveform(samples.numpy(), whole(facts, "sample_rate", 1, 2**31))
    bar = whole(told, "beats_per_bar", 1, 16)
    prompt = Prompt(waveform, bpm, Tempo(**tempo), n_beats, bar, codes.numpy(), messages, told["name"])
    if waveform.n_samples != BeatGrid(bpm, waveform.sample_rate).edges(n_beats)[-1] or waveform.n_channels > 2:
        raise wrong("its loop has another length")
    check_codes("prompt.codes", codes, (int(prompt.n_model_beats), *_code_shape(codec)), codec)
    return prompt


def take(tensors: dict[str, Tensor], name: str) -> Tensor:
    """Errors: RequestError when there is none."""
    if name not in tensors:
        raise wrong(f"{name} is missing")
    return tensors[name]


def _is_like(value: Any, default: Any) -> bool:
    """Whether a number, a yes or no, or a list of them, stands where one is expected; a list may be of any length where
    the default is empty."""
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and (
            not default or (len(value) == len(default) and all(map(_is_like, value, default)))
        )
    return isinstance(value, bool) if isinstance(default, bool) else _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _code_shape(codec: Any) -> tuple[int, int]:
    return codec.config.latent_frames_per_beat, codec.config.n_codebooks


def check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Shape, kind, and finite numbers. Errors: RequestError."""
    if tensor.shape != shape or tensor.dtype != dtype:
        raise wrong(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, not {dtype} {shape}")
    if dtype.is_floating_point and not bool(tensor.isfinite().all()):
        raise wrong(f"{name} holds NaN or infinity")
    return tensor


def check_codes(name: str, codes: Tensor, shape: tuple[int, ...], codec: Any) -> Tensor:
    """Codes that the model has. Errors: RequestError."""
    check_tensor(name, codes, shape, torch.int64)
    if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < codec.config.codebook_size):
        raise wrong(f"{name} holds codes that the model does not know")
    return codes
