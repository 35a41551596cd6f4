"""A stream put to sleep: every tensor and number it needs to go on, in one safetensors file."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from melformer.audio.tempo import Tempo
from melformer.audio.wav import Waveform
from melformer.codec.codec import Codec, DecoderState
from melformer.errors import RequestError
from melformer.files import atomic_path
from melformer.generate.compose import Composer
from melformer.generate.prompt import Prompt
from melformer.generate.sampling import Settings
from melformer.generate.takes import TakeStreams
from melformer.generate.voice import Voice, VoiceState
from melformer.transformer.column import BeatRing
from melformer.transformer.kv_cache import KVCache
from melformer.transformer.model import BeatTransformer, TransformerState

VERSION = 3


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
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise RequestError(f"{path} is no saved stream: {error}") from error
        if facts.get("version") != VERSION:
            raise RequestError(f"{path} was saved as version {facts.get('version')}; this Melformer reads {VERSION}.")
        return cls(tensors, facts)


def snapshot(takes: TakeStreams, settings: Settings, seed: int) -> StreamState:
    """Copy the state of a stream of one take."""
    composer, voice, prompt = takes.composer.state, takes.voices[0], takes.prompt
    tensors = {
        "prompt.samples": torch.from_numpy(prompt.waveform.samples), "prompt.codes": torch.from_numpy(prompt.codes),
        "composer.contexts": composer.contexts, "composer.lags": composer.lags,
        "voice.carry": voice.state.decoder.carry, "voice.buffer": voice.state.buffer,
        "voice.lags": torch.from_numpy(voice.state.lags), "voice.bands": torch.from_numpy(voice.state.bands),
        "voice.recent": torch.from_numpy(voice.state.recent), "codes": torch.from_numpy(np.stack(takes.codes)),
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
        "codes_start": takes.codes_start, "position": composer.position,
        "voice": {n: getattr(voice.state, n) for n in ("buffer_start", "lags_start", "n_pushed", "last_lag")},
        "decoder_frame": voice.state.decoder.frame, "sample_rate": prompt.waveform.sample_rate,
        "prompt": {n: getattr(prompt, n) for n in ("bpm", "n_beats", "beats_per_bar", "messages", "name")},
        "tempo": asdict(prompt.tempo),
    }  # fmt: skip
    return StreamState({name: t.contiguous().clone() for name, t in tensors.items()}, facts)


def wake(codec: Codec, transformer: BeatTransformer, state: StreamState) -> tuple[TakeStreams, Settings]:
    """Build the stream again. Errors: RequestError when the state does not fit this model."""
    try:
        return _wake(codec, transformer, state)
    except (KeyError, TypeError, IndexError, RuntimeError) as error:
        raise RequestError(f"This saved stream does not fit the model that is loaded: {error}") from error


def _wake(codec: Codec, transformer: BeatTransformer, state: StreamState) -> tuple[TakeStreams, Settings]:
    tensors, facts = {name: t.clone() for name, t in state.tensors.items()}, state.facts
    waveform = Waveform(tensors["prompt.samples"].numpy(), facts["sample_rate"])
    prompt = Prompt(
        waveform=waveform, tempo=Tempo(**facts["tempo"]), codes=tensors["prompt.codes"].numpy(), **facts["prompt"]
    )
    ring = BeatRing(**{name: tensors[f"ring.{name}"] for name in ("keys", "values", "codes", "pointer_keys")})
    caches = [
        KVCache(tensors[f"caches.{i}.keys"], tensors[f"caches.{i}.values"]) for i in range(transformer.config.n_layers)
    ]
    composed = TransformerState(
        facts["position"], caches, ring, tensors["composer.contexts"], tensors["composer.lags"]
    )
    blocks = [
        [tensors[f"voice.{name}.{i}"] for i in range(len(stack))]
        for name, stack in (
            ("latent_blocks", codec.decoder.latent_blocks), ("frame_blocks", codec.decoder.frame_blocks),
        )
    ]  # fmt: skip
    decoder = DecoderState(blocks[0], blocks[1], tensors["voice.carry"], facts["decoder_frame"])
    voice = Voice(codec, prompt)
    voice.state = VoiceState(
        decoder=decoder, buffer=tensors["voice.buffer"], lags=tensors["voice.lags"].numpy(),
        bands=tensors["voice.bands"].numpy(), recent=tensors["voice.recent"].numpy(), **facts["voice"],
    )  # fmt: skip
    takes = TakeStreams(Composer(transformer, prompt, [facts["seed"]], composed), [voice], prompt)
    takes.index, takes.codes_start = facts["index"], facts["codes_start"]
    takes.codes = list(tensors["codes"].numpy())
    takes.joins = [tensors["join"].numpy()] if "join" in tensors else []
    return takes, replace(Settings(), **facts["settings"])
