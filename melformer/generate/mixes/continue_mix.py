"""A loop's mix continued in codes, as sound."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
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
    renderer, factor = Renderer(codec, prompt), Fraction(prompt.model_beats_per_beat)
    edges, rate = prompt.grid.edges(prompt.n_beats + n_beats), prompt.waveform.sample_rate
    parts, lags, pushed = [], [], 0
    for beat in range(n_beats):
        while pushed < renderer.beats_needed((beat + 1) * factor):
            renderer.push(next(codes), own_sound)
            pushed += 1
        parts.append(renderer.render(int(edges[prompt.n_beats + beat]), int(edges[prompt.n_beats + beat + 1])))
        first, last = (int((beat + i) * factor * renderer.frames) for i in (0, 1))
        lags.append(renderer.lags_of(first, last - first)[0])
        if not beat:
            lead_in = renderer.lead_in()
    join = crossfade(prompt.waveform.samples[-len(lead_in) :], lead_in)
    new = np.concatenate(parts)
    whole = np.concatenate([prompt.waveform.samples[: -len(join)], join, new])
    return MixContinuation(Waveform(whole, rate), Waveform(new, rate), np.concatenate(lags))
