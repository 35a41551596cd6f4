"""What a saved stream must hold to be woken: each fact and tensor checked against the model before it is used."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from melformer.audio.grid import beat_edges, check_bpm
from melformer.audio.tempo import Tempo
from melformer.audio.wav import Waveform
from melformer.codec.sources import RECENT_BEATS
from melformer.errors import RequestError
from melformer.generate.prompt import MAX_BEATS, MIN_BEATS, Prompt
from melformer.transformer.model import BeatTransformer, Conditioning, TransformerState

if TYPE_CHECKING:
    from melformer.generate.voice import Voice

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
    numbers = {"bpm", "confidence", "start_s", "start_confidence"}
    unknown = tempo.keys() ^ (numbers | {"source"})
    if unknown or not isinstance(tempo["source"], str) or not all(_is_number(tempo[name]) for name in numbers):
        raise wrong("its tempo is unclear")
    messages = told.get("messages")
    if not isinstance(messages, list) or not all(isinstance(text, str) for text in [*messages, told.get("name")]):
        raise wrong("its loop has no name")
    bpm, n_beats = check_bpm(told.get("bpm", 0)), whole(told, "n_beats", MIN_BEATS, MAX_BEATS)
    samples, codes = (take(tensors, f"prompt.{name}") for name in ("samples", "codes"))
    waveform = Waveform(samples.numpy(), whole(facts, "sample_rate", 1, 2**31))
    bar = whole(told, "beats_per_bar", 1, 16)
    prompt = Prompt(waveform, bpm, Tempo(**tempo), n_beats, bar, codes.numpy(), messages, told["name"])
    if waveform.n_samples != beat_edges(n_beats, bpm, waveform.sample_rate)[-1] or waveform.n_channels > 2:
        raise wrong("its loop has another length")
    check_codes("prompt.codes", codes, (int(prompt.n_model_beats), *_code_shape(codec)), codec)
    return prompt


def take(tensors: dict[str, Tensor], name: str) -> Tensor:
    """Errors: RequestError when there is none."""
    if name not in tensors:
        raise wrong(f"{name} is missing")
    return tensors[name]


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


def check_composed(transformer: BeatTransformer, state: TransformerState, codec: Any) -> None:
    """Compare the state of one sequence with a fresh one's. Errors: RequestError."""
    blank = Conditioning(torch.zeros(1), torch.zeros(1, 2, dtype=torch.int64))
    with torch.inference_mode():
        fresh = transformer.read(torch.zeros(1, 1, *_code_shape(codec), dtype=torch.int64), blank)
    pairs = [(state.contexts, fresh.contexts)]
    for own, other in [(state.ring, fresh.ring), *zip(state.caches, fresh.caches)]:
        pairs += [(getattr(own, name), getattr(other, name)) for name in vars(other)]
    for own_part, fresh_part in pairs:
        check_tensor("a memory", own_part, tuple(fresh_part.shape), fresh_part.dtype)
    check_codes("ring.codes", state.ring.codes, tuple(fresh.ring.codes.shape), codec)


def check_voice(voice: "Voice", state: Any) -> None:
    """Compare a voice's state after `state.n_pushed` model beats with what it must be. Errors: RequestError."""
    fresh, n = voice.state, state.n_pushed
    kept = min(n, voice.n_kept + 1)
    width = state.buffer.shape[-1]
    if not 0 < width <= (voice.n_kept + 1) * voice.work or width % voice.work:
        raise wrong("its sound has another length")
    check_tensor("voice.buffer", state.buffer, (fresh.buffer.shape[0], width))
    for stack in ("latent_blocks", "frame_blocks"):
        for own, other in zip(getattr(state.decoder, stack), getattr(fresh.decoder, stack)):
            check_tensor(stack, own, tuple(other.shape))
    check_tensor("voice.carry", state.decoder.carry, tuple(fresh.decoder.carry.shape))
    check_tensor("voice.partials", state.decoder.partials, tuple(fresh.decoder.partials.shape))
    lags, bands, recent = (torch.from_numpy(getattr(state, name)) for name in ("lags", "bands", "recent"))
    check_tensor("voice.lags", lags, (kept * voice.frames,), torch.int64)
    check_tensor("voice.bands", bands, (kept * voice.frames, voice.own.n_bands), torch.int64)
    rows = min(n, RECENT_BEATS) if voice.own.n_bands else 0
    check_tensor("voice.recent", recent, (rows, fresh.recent.shape[1]))
    farthest = len(voice.prompt.codes) + n
    for name, sources, low in (("lags", lags, 0), ("bands", bands, -2)):
        if sources.numel() and not (low <= int(sources.min()) and int(sources.max()) <= farthest):
            raise wrong(f"voice.{name} points outside its loop")

