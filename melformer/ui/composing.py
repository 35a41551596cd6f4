"""What a session asks of the model about its takes: streams of new beats, states, stems, and parts composed anew."""

import collections
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import Waveform
from melformer.generate.generated import Continuation
from melformer.stems import STEMS, Stems
from melformer.ui.requests import GenerationRequest
from melformer.ui.takes import Take, joined_end
from melformer.ui.tape import Tape
from melformer.ui.wire import beat_sources, code_columns

MAX_STEMS_S = 180.0
"""Of a longer take no stems are made afterwards: it would hold the machine up for others."""


def open_stream(model: Any, request: GenerationRequest, take: Take, varied: Take | None) -> Any:
    """New beats after `take`, or `varied` once more with one stem drawn anew."""
    if request.vary is not None and varied is not None:
        return model.vary(state_of(model, varied), [request.vary[1]], request.n_beats, request.seed, request.settings)
    if request.keep is None:
        return model.stream(
            take.loop.prompt, n_beats=request.n_beats, seed=request.seed, settings=request.settings,
            close_loop=request.close_loop,
        )  # fmt: skip
    stream = model.resume(state_of(model, take), n_beats=request.n_beats)
    stream.settings = request.settings
    return stream


def state_of(model: Any, take: Take) -> Any:
    """Where a take goes on; one of several was made without: its seed makes the same beats again."""
    if take.state is not None:
        return take.state
    again = model.stream(
        take.loop.prompt, n_beats=take.n_beats, seed=take.seed, settings=take.settings, close_loop=take.closed
    )
    collections.deque(again, maxlen=0)
    return again.state()


def has_stems(take: Take) -> bool:
    """Whether it is short enough for its stems to be made afterwards."""
    seconds = take.loop.prompt.waveform.duration_s + take.n_new_samples / take.tape.sample_rate
    return seconds <= MAX_STEMS_S


def take_stems(model: Any, take: Take) -> dict[str, Waveform]:
    """The stems of a loop and its take, as the take was composed of them."""
    loop, new = model.stems(take.loop.prompt), model.new_stems(state_of(model, take))
    rate = take.tape.sample_rate
    return {name: Waveform(np.concatenate([loop[name].samples, new[name].samples]), rate) for name in loop.present}


def redone(
    model: Any, take: Take, number: int, path: Path, beats: tuple[int, int], stems: list[str] | None, seed: int
) -> Take:  # fmt: skip
    """Take `number`, on a new tape at `path`: another with new beats `beats` = (first, end) composed anew, all stems of
    them or those named; all else stays. Errors: RequestError."""
    again = model.redo(_continuation(model, take), beats, stems, seed)
    tape = Tape(path, again.new.n_channels, again.new.sample_rate)
    tape.append(again.new.samples)
    codes, sources = list(take.codes[: take.n_beats]), list(take.sources[: take.n_beats])
    for k in range(*beats):
        codes[k] = code_columns(again.beats[k].codes)
        sources[k] = beat_sources(again.beats[k])
    made = replace(
        take, number=number, seed=seed, tape=tape, codes=codes, sources=sources, name="", favourite=False, edited=True,
        join=joined_end(again), closed=take.closed and beats[1] < take.n_beats,
    )  # fmt: skip
    again.state.save(made.state_path)
    return replace(made, state=made.state_path)


def _continuation(model: Any, take: Take) -> Continuation:
    """A take as the model gives one that it has just finished."""
    state = state_of(model, take)
    sounds, resumed = model.new_stems(state), model.resume(state)
    stems = Stems(*(sounds[name] for name in STEMS))
    return Continuation(
        take.loop.prompt, take.whole(), take.new(), stems, [], take.seed, take.settings, take.n_beats, 0.0, 0.0,
        resumed.state(),
    )  # fmt: skip
