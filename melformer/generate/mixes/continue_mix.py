"""A loop's mix continued in codes, as sound."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.generate.mixes.composer import MixComposer
from melformer.generate.mixes.sampling import MixConfig
from melformer.generate.prompt import Prompt
from melformer.render.crossfade import crossfade
from melformer.render.renderer import Renderer

if TYPE_CHECKING:
    from melformer.generate.pipeline import Melformer


@dataclass(frozen=True, eq=False)
class MixContinuation:
    """`waveform` is prompt, join and the `new` part; `lags` (frames,) of the new part are the model beats that its
    frames were copied from, counted backwards (0: decoded)."""

    waveform: Waveform
    new: Waveform
    lags: np.ndarray


def continue_mix(
    model: "Melformer", prompt: Prompt, n_beats: int, seed: int = 0, config: MixConfig | None = None
) -> MixContinuation:
    """`n_beats` new beats behind a prompt, as the code transformer composes them."""
    config = config or MixConfig()
    composer = MixComposer(model.transformer, prompt, seed, config)
    return sound_of(model.codec, prompt, composer, n_beats, config.own_sound)


def sound_of(codec: Codec, prompt: Prompt, codes: Iterator[Tensor], n_beats: int, own_sound: float) -> MixContinuation:
    """Codes of model beats (frames, n_codebooks), as many as are needed, rendered as the continuation of a prompt."""
    n_model_beats = n_beats * prompt.model_beats_per_beat
    needed = torch.stack(list(islice(codes, math.ceil(n_model_beats) + 1)))  # of the last one nothing is complete
    renderer = Renderer(codec, prompt, needed, own_sound)
    edges, rate = prompt.grid.edges(prompt.n_beats + n_beats)[prompt.n_beats :], prompt.waveform.sample_rate
    new = np.concatenate([renderer.render(int(a), int(b)) for a, b in pairwise(edges)])
    lead_in = renderer.lead_in()
    join = crossfade(prompt.waveform.samples[-len(lead_in) :], lead_in)
    whole = np.concatenate([prompt.waveform.samples[: -len(join)], join, new])
    lags = renderer.lags[: int(n_model_beats * renderer.frames)]
    return MixContinuation(Waveform(whole, rate), Waveform(new, rate), lags)
