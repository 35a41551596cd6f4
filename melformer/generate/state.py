"""A stream put to sleep: every tensor and number it needs to go on, in one safetensors file."""

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from melformer.audio.grid import BeatGrid, check_bpm
from melformer.audio.io import Waveform
from melformer.audio.tempo import Tempo
from melformer.codec.codec import Codec
from melformer.codec.decoder import DecoderState
from melformer.codec.source_scorer import RECENT_BEATS
from melformer.errors import RequestError
from melformer.files import atomic_path, check_format
from melformer.generate.beat_generator import BeatGenerator, context_codes
from melformer.generate.code_features import CodeFeatures
from melformer.generate.prompt import MAX_BEATS, MIN_BEATS, Prompt
from melformer.generate.sampling import GenerationConfig
from melformer.generate.take_batch import TakeStreams
from melformer.render.renderer import HISTORY_BEATS, Renderer, RendererState
from melformer.render.source_matcher import GENERATE
from melformer.transformer.aligned_attention import AlignedKVCache
from melformer.transformer.kv_cache import KVCache
from melformer.transformer.model import BeatTransformer, Conditioning, TransformerState

if TYPE_CHECKING:
    from melformer.render.renderer import Renderer

_TEMPO_NUMBERS = ("bpm", "confidence", "start_s", "start_confidence")
VERSION = 8


@dataclass(frozen=True)
class StreamState:
    """A stopped stream. `tensors` and `facts` are its own affair; save it, load it, and resume it."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write one file, whole or not at all. Errors: OSError."""
        with atomic_path(path) as temporary:
            save_file(self.tensors, temporary, metadata={"melformer_stream": json.dumps(self.facts)})

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


def capture(takes: TakeStreams, settings: GenerationConfig, seed: int, row: int = 0) -> StreamState:
    """Copy the state of one take, `row` of those that are made together."""
    generator = takes.generator.state.rows(torch.tensor([row]))
    renderer, prompt = takes.renderers[row], takes.prompt
    empty = torch.zeros(0, 1, *prompt.codes.shape[1:], dtype=torch.int64)
    tensors = {
        "prompt.samples": torch.from_numpy(prompt.waveform.samples), "prompt.codes": torch.from_numpy(prompt.codes),
        "composer.contexts": generator.contexts,
        "voice.carry": renderer.state.decoder.carry, "voice.partials": renderer.state.decoder.partials,
        "voice.buffer": renderer.state.buffer,
        "voice.lags": torch.from_numpy(renderer.state.lags), "voice.bands": torch.from_numpy(renderer.state.bands),
        "voice.recent": torch.from_numpy(renderer.state.recent),
        "codes": torch.from_numpy(np.stack(takes.codes)[:, row : row + 1]) if takes.codes else empty,
    }  # fmt: skip
    if takes.joins:
        tensors["join"] = torch.from_numpy(takes.joins[row])
    tensors |= {f"ring.{name}": value for name, value in vars(generator.ring).items()}
    for i, cache in enumerate(generator.caches):
        tensors |= {f"caches.{i}.{name}": value for name, value in vars(cache).items()}
    for name in ("latent_blocks", "frame_blocks"):
        tensors |= {f"voice.{name}.{i}": t for i, t in enumerate(getattr(renderer.state.decoder, name))}
    facts = {
        "version": VERSION, "seed": seed, "settings": asdict(settings), "index": takes.index,
        "n_decoded": renderer.state.n_decoded, "sample_rate": prompt.waveform.sample_rate,
        "tempo": {name: getattr(prompt.tempo, name) for name in (*_TEMPO_NUMBERS, "source")},
        "prompt": {n: getattr(prompt, n) for n in ("bpm", "n_beats", "beats_per_bar", "messages", "name")},
    }  # fmt: skip
    return StreamState({name: t.contiguous().clone().cpu() for name, t in tensors.items()}, facts)


def restore(
    codec: Codec, transformer: BeatTransformer, state: StreamState, code_features: CodeFeatures
) -> tuple[TakeStreams, GenerationConfig]:
    """Build the stream again. Errors: RequestError when the state is damaged or does not fit this model."""
    tensors, facts = {name: t.clone() for name, t in state.tensors.items()}, state.facts
    prompt, seed = read_prompt(facts, tensors, codec), whole(facts, "seed", 0, 2**63 - 1)
    settings, index = facts.get("settings"), whole(facts, "index", 0, MAX_INDEX)
    if not isinstance(settings, dict) or settings.keys() - vars(GenerationConfig()).keys():
        raise wrong("its settings are unknown")
    renderer = Renderer(codec, prompt)
    n_pushed = renderer.beats_needed(index * Fraction(prompt.model_beats_per_beat)) if index else 0
    composed = _restore_transformer(transformer, tensors, len(context_codes(prompt)) + n_pushed)
    check_composed(transformer, composed, codec)
    takes = TakeStreams(BeatGenerator(transformer, prompt, [seed], code_features, composed), [renderer], prompt)
    codes = take(tensors, "codes")
    takes.index, takes.codes_start = index, n_pushed - len(codes)
    check_codes("codes", codes, (len(codes), 1, *prompt.codes.shape[1:]), codec)
    if not 0 <= takes.codes_start <= index * prompt.model_beats_per_beat:
        raise wrong("it holds too few codes, or too many")
    takes.codes = list(codes.numpy())
    history = torch.cat([torch.from_numpy(prompt.codes), codes[:, 0]])[-HISTORY_BEATS:]
    renderer.state = _restore_renderer(renderer, tensors, n_pushed, whole(facts, "n_decoded", 0, n_pushed), history)
    if index:
        shape = (renderer.n_join, prompt.waveform.n_channels)
        takes.joins = [check_tensor("join", take(tensors, "join"), shape).numpy()]
    return takes, GenerationConfig(**settings)


def _restore_transformer(transformer: BeatTransformer, tensors: dict[str, Tensor], position: int) -> TransformerState:
    def there(name: str) -> Tensor:
        return take(tensors, name).to(transformer.device)

    ring = AlignedKVCache(**{name: there(f"ring.{name}") for name in ("keys", "values", "codes", "pointer_keys")})
    n_layers = transformer.config.n_layers
    caches = [KVCache(there(f"caches.{i}.keys"), there(f"caches.{i}.values")) for i in range(n_layers)]
    contexts = there("composer.contexts")
    return TransformerState(position, caches, ring, contexts, transformer.ring_lags(position))


def _restore_renderer(
    renderer: Renderer, tensors: dict[str, Tensor], n_pushed: int, n_decoded: int, history: Tensor
) -> RendererState:
    """All that is counted follows from how many model beats were pushed, and up to which they were decoded."""
    fresh, decoder = renderer.state.decoder, renderer.codec.decoder
    blocks = [
        [take(tensors, f"voice.{name}.{i}") for i in range(len(getattr(fresh, name)))]
        for name in ("latent_blocks", "frame_blocks")
    ]
    buffer, lags = take(tensors, "voice.buffer"), take(tensors, "voice.lags").numpy()
    frame = fresh.frame + n_decoded * decoder.stft.frames_per_beat
    carried = DecoderState(blocks[0], blocks[1], take(tensors, "voice.carry"), frame, take(tensors, "voice.partials"))
    state = RendererState(
        decoder=carried, history=history, buffer=buffer,
        buffer_start=n_decoded * renderer.work - decoder.delay_samples - buffer.shape[-1], lags=lags,
        bands=take(tensors, "voice.bands").numpy(), recent=take(tensors, "voice.recent").numpy(),
        lags_start=n_pushed * renderer.frames - len(lags), n_pushed=n_pushed, n_decoded=n_decoded,
        last_lag=GENERATE,
    )  # fmt: skip
    check_renderer(renderer, state)
    state.last_lag = int(lags[-1]) if len(lags) else GENERATE
    return state


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
    device = transformer.device
    blank = Conditioning(torch.zeros(1, device=device), torch.zeros(1, 2, dtype=torch.int64, device=device))
    with torch.inference_mode():
        fresh = transformer.prefill(torch.zeros(1, 1, *_code_shape(codec), dtype=torch.int64, device=device), blank)
    pairs = [(state.contexts, fresh.contexts)]
    for own, other in [(state.ring, fresh.ring), *zip(state.caches, fresh.caches)]:
        pairs += [(getattr(own, name), getattr(other, name)) for name in vars(other)]
    for own_part, fresh_part in pairs:
        check_tensor("a memory", own_part, tuple(fresh_part.shape), fresh_part.dtype)
    check_codes("ring.codes", state.ring.codes, tuple(fresh.ring.codes.shape), codec)


def check_renderer(renderer: "Renderer", state: Any) -> None:
    """Compare a voice's state after `state.n_pushed` model beats with what it must be. Errors: RequestError."""
    fresh, n = renderer.state, state.n_pushed
    kept = min(n, renderer.n_kept + 1)
    width = state.buffer.shape[-1]
    if not 0 < width <= (renderer.n_kept + 1) * renderer.work or width % renderer.work:
        raise wrong("its sound has another length")
    check_tensor("voice.buffer", state.buffer, (fresh.buffer.shape[0], width))
    for stack in ("latent_blocks", "frame_blocks"):
        for own, other in zip(getattr(state.decoder, stack), getattr(fresh.decoder, stack)):
            check_tensor(stack, own, tuple(other.shape))
    check_tensor("voice.carry", state.decoder.carry, tuple(fresh.decoder.carry.shape))
    check_tensor("voice.partials", state.decoder.partials, tuple(fresh.decoder.partials.shape))
    lags, bands, recent = (torch.from_numpy(getattr(state, name)) for name in ("lags", "bands", "recent"))
    check_tensor("voice.lags", lags, (kept * renderer.frames,), torch.int64)
    check_tensor("voice.bands", bands, (kept * renderer.frames, renderer.matcher.n_bands), torch.int64)
    rows = min(n, RECENT_BEATS)
    check_tensor("voice.recent", recent, (rows, fresh.recent.shape[1]))
    farthest = len(renderer.prompt.codes) + n
    for name, sources, low in (("lags", lags, 0), ("bands", bands, -2)):
        if sources.numel() and not (low <= int(sources.min()) and int(sources.max()) <= farthest):
            raise wrong(f"voice.{name} points outside its loop")
