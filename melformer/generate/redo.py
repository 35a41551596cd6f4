"""A part of a finished continuation composed anew, all else left as it is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from melformer.audio.io import Waveform
from melformer.codec.codec import Codec
from melformer.errors import RequestError
from melformer.generate.generated import Continuation
from melformer.generate.generation_config import GenerationConfig
from melformer.generate.loop_stems import LoopStems
from melformer.generate.planning.bridge import best_bridge
from melformer.generate.planning.plan_options import Choices
from melformer.generate.state import capture, read_choices
from melformer.generate.stream import Beat, BeatStream
from melformer.stems.stems import STEMS, Stems
from melformer.transformer.pointer import Pointer


def redo(
    take: Continuation, loop: LoopStems, pointer: Pointer, codec: Codec, beats: tuple[int, int],
    stems: Sequence[str] | None, seed: int, config: GenerationConfig | None,
) -> Continuation:  # fmt: skip
    """See `Melformer.redo`."""
    first, end = beats
    if not 0 <= first < end <= take.n_beats:
        raise RequestError(f"Beats {first} to {end} are not in the take, which has beats 0 to {take.n_beats}.")
    wanted = STEMS if stems is None else tuple(stems)
    for name in wanted:
        if name not in STEMS:
            raise RequestError(f"There is no stem {name!r}; stems are {', '.join(STEMS)}.")
    asked = config or replace(take.config, keep=tuple(s for s in take.config.keep if stems is None or s not in wanted))
    asked = replace(asked, draws=(0,) * len(STEMS))  # another seed has lines of its own
    stream = BeatStream(loop, pointer, codec, asked, take.n_beats, seed)
    low, high = (beat * loop.units_per_beat for beat in beats)
    planned = read_choices(take.state.tensors["choices"])  # also those behind the end, which its last join leads to
    for unit in planned[:low]:
        _append(stream, unit)
    given = [
        tuple(None if name in wanted else choice for name, choice in zip(STEMS, unit)) for unit in planned[low:high]
    ]
    after = planned[high : high + loop.bar]
    old, options_of = planned[low:high], stream.options_of(low // loop.bar)
    chosen = best_bridge(stream.planner, options_of, given, after, unlike=old).choices
    for unit in [*chosen, *planned[high:]]:
        _append(stream, unit)
    stream.index = take.n_beats
    return _spliced(take, stream, first, end)


def _append(stream: BeatStream, unit: Choices) -> None:
    stream.decided.append(unit)
    stream.plan()


def _spliced(take: Continuation, stream: BeatStream, first: int, end: int) -> Continuation:
    """The take with what its stream now plays from beat `first` to `end`."""
    loop, rate = stream.loop, take.new.sample_rate
    start, stop = max(0, loop.edges(first)[0] - loop.renderer.fade), loop.edges(end - 1)[1]
    sounds = np.stack([stem.samples for stem in take.stems])
    sounds[:, start:stop] = stream.mixer.sounds(start, stop)
    mix = take.new.samples.copy()
    mix[start:stop] = stream.mixer.mix(sounds[:, start:stop], start)
    stream.join = take.waveform.samples[: take.prompt.waveform.n_samples][-stream.mixer.n_join :]
    if first == 0:
        stream.join = stream.mixer.new_join()
    kept = take.prompt.waveform.samples[: take.prompt.waveform.n_samples - stream.mixer.n_join]
    beats = [_beat(stream, mix, sounds, k) for k in range(take.n_beats)]
    return replace(
        take, waveform=Waveform(np.concatenate([kept, stream.join, mix]), rate), new=Waveform(mix, rate),
        stems=Stems(*(Waveform(np.ascontiguousarray(sound), rate) for sound in sounds)),
        sources=stream.choices[: len(take.sources)], state=capture(stream), beats=beats, ending=None,
    )  # fmt: skip


def _beat(stream: BeatStream, mix: np.ndarray, sounds: np.ndarray, index: int) -> Beat:
    (start, stop), per_beat = stream.loop.edges(index), stream.loop.units_per_beat
    waveform = Waveform(np.ascontiguousarray(mix[start:stop]), stream.prompt.waveform.sample_rate)
    sources = tuple(stream.choices[index * per_beat : (index + 1) * per_beat])
    return Beat(index, waveform, sounds[:, start:stop], sources, 0.0, lambda: stream.codes(index, waveform))
