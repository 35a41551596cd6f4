"""A stream put to sleep: every tensor and number it needs to go on, in one safetensors file."""

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from melformer.codec.codec import Codec, DecoderState
from melformer.errors import RequestError
from melformer.files import atomic_path
from melformer.generate.compose import Composer, heard_codes
from melformer.generate.ear import Ear
from melformer.generate.own_sound import GENERATE
from melformer.generate.sampling import Settings
from melformer.generate.saved import (
    MAX_INDEX,
    check_codes,
    check_composed,
    check_tensor,
    check_voice,
    read_prompt,
    take,
    whole,
    wrong,
)
from melformer.generate.takes import TakeStreams
from melformer.generate.voice import HISTORY_BEATS, Voice, VoiceState
from melformer.transformer.column import BeatRing
from melformer.transformer.kv_cache import KVCache
from melformer.transformer.model import BeatTransformer, TransformerState

VERSION = 7


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
        """Read what `save` wrote. Errors: RequestError for any other file."""
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["melformer_stream"])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
            raise RequestError(f"{path} is no saved stream: {error}") from error
        if not isinstance(facts, dict):
            raise RequestError(f"{path} is no saved stream: it tells nothing about itself.")
        if facts.get("version") != VERSION:
            raise RequestError(f"{path} was saved as version {facts.get('version')}; this Melformer reads {VERSION}.")
        return cls(tensors, facts)


def snapshot(takes: TakeStreams, settings: Settings, seed: int) -> StreamState:
    """Copy the state of a stream of one take."""
    composer = takes.composer.state.rows(torch.zeros(1, dtype=torch.int64))
    voice, prompt = takes.voices[0], takes.prompt
    empty = torch.zeros(0, 1, *prompt.codes.shape[1:], dtype=torch.int64)
    tensors = {
        "prompt.samples": torch.from_numpy(prompt.waveform.samples), "prompt.codes": torch.from_numpy(prompt.codes),
        "composer.contexts": composer.contexts,
        "voice.carry": voice.state.decoder.carry, "voice.partials": voice.state.decoder.partials,
        "voice.buffer": voice.state.buffer,
        "voice.lags": torch.from_numpy(voice.state.lags), "voice.bands": torch.from_numpy(voice.state.bands),
        "voice.recent": torch.from_numpy(voice.state.recent),
        "codes": torch.from_numpy(np.stack(takes.codes)) if takes.codes else empty,
    }  # fmt: skip
    if takes.joins:
        tensors["join"] = torch.from_numpy(takes.joins[0])
    tensors |= {f"ring.{name}": value for name, value in vars(composer.ring).items()}
    for i, cache in enumerate(composer.caches):
        tensors |= {f"caches.{i}.{name}": value for name, value in vars(cache).items()}
    for name in ("latent_blocks", "frame_blocks"):
        tensors |= {f"voice.{name}.{i}": t for i, t in enumerate(getattr(voice.state.decoder, name))}
    facts = {
        "version": VERSION, "seed": seed, "settings": asdict(settings), "index": takes.index,
        "n_decoded": voice.state.n_decoded, "sample_rate": prompt.waveform.sample_rate, "tempo": asdict(prompt.tempo),
        "prompt": {n: getattr(prompt, n) for n in ("bpm", "n_beats", "beats_per_bar", "messages", "name")},
    }  # fmt: skip
    return StreamState({name: t.contiguous().clone() for name, t in tensors.items()}, facts)


def wake(
    codec: Codec, transformer: BeatTransformer, state: StreamState, ear: Ear
) -> tuple[TakeStreams, Settings]:
    """Build the stream again. Errors: RequestError when the state is damaged or does not fit this model."""
    tensors, facts = {name: t.clone() for name, t in state.tensors.items()}, state.facts
    prompt, seed = read_prompt(facts, tensors, codec), whole(facts, "seed", 0, 2**63 - 1)
    settings, index = facts.get("settings"), whole(facts, "index", 0, MAX_INDEX)
    if not isinstance(settings, dict) or settings.keys() - vars(Settings()).keys():
        raise wrong("its settings are unknown")
    voice = Voice(codec, prompt)
    n_pushed = voice.beats_needed(index * Fraction(prompt.model_beats_per_beat)) if index else 0
    composed = _wake_composed(transformer, tensors, len(heard_codes(prompt)) + n_pushed)
    check_composed(transformer, composed, codec)
    takes = TakeStreams(Composer(transformer, prompt, [seed], ear, composed), [voice], prompt)
    codes = take(tensors, "codes")
    takes.index, takes.codes_start = index, n_pushed - len(codes)
    check_codes("codes", codes, (len(codes), 1, *prompt.codes.shape[1:]), codec)
    if not 0 <= takes.codes_start <= index * prompt.model_beats_per_beat:
        raise wrong("it holds too few codes, or too many")
    takes.codes = list(codes.numpy())
    history = torch.cat([torch.from_numpy(prompt.codes), codes[:, 0]])[-HISTORY_BEATS:]
    voice.state = _wake_voice(voice, tensors, n_pushed, whole(facts, "n_decoded", 0, n_pushed), history)
    if index:
        shape = (voice.n_join, prompt.waveform.n_channels)
        takes.joins = [check_tensor("join", take(tensors, "join"), shape).numpy()]
    return takes, Settings(**settings)


def _wake_composed(transformer: BeatTransformer, tensors: dict[str, Tensor], position: int) -> TransformerState:
    names = ("keys", "values", "codes", "pointer_keys")
    ring = BeatRing(**{name: take(tensors, f"ring.{name}") for name in names})
    caches = [
        KVCache(take(tensors, f"caches.{i}.keys"), take(tensors, f"caches.{i}.values"))
        for i in range(transformer.config.n_layers)
    ]
    contexts = take(tensors, "composer.contexts")
    return TransformerState(position, caches, ring, contexts, transformer.ring_lags(position))


def _wake_voice(
    voice: Voice, tensors: dict[str, Tensor], n_pushed: int, n_decoded: int, history: Tensor
) -> VoiceState:
    """All that is counted follows from how many model beats were pushed, and up to which they were decoded."""
    fresh, decoder = voice.state.decoder, voice.codec.decoder
    blocks = [
        [take(tensors, f"voice.{name}.{i}") for i in range(len(getattr(fresh, name)))]
        for name in ("latent_blocks", "frame_blocks")
    ]
    buffer, lags = take(tensors, "voice.buffer"), take(tensors, "voice.lags").numpy()
    frame = fresh.frame + n_decoded * decoder.stft.frames_per_beat
    carried = DecoderState(blocks[0], blocks[1], take(tensors, "voice.carry"), frame, take(tensors, "voice.partials"))
    state = VoiceState(
        decoder=carried, history=history, buffer=buffer,
        buffer_start=n_decoded * voice.work - decoder.delay_samples - buffer.shape[-1], lags=lags,
        bands=take(tensors, "voice.bands").numpy(), recent=take(tensors, "voice.recent").numpy(),
        lags_start=n_pushed * voice.frames - len(lags), n_pushed=n_pushed, n_decoded=n_decoded,
        last_lag=GENERATE,
    )  # fmt: skip
    check_voice(voice, state)
    state.last_lag = int(lags[-1]) if len(lags) else GENERATE
    return state
