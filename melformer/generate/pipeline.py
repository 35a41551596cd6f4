"""Melformer: a codec and a transformer that continue loops."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from melformer.audio.grid import beat_edges
from melformer.audio.io import Waveform, read_waveform
from melformer.audio.tempo import find_tempo
from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.errors import RequestError
from melformer.generate.beat_generator import BeatGenerator
from melformer.generate.closing import Ending
from melformer.generate.code_features import CodeFeatures
from melformer.generate.parallel import aside
from melformer.generate.prompt import Prompt, encode, make_prompt
from melformer.generate.ranking import ranked
from melformer.generate.sampling import GenerationConfig
from melformer.generate.state import StreamState, restore
from melformer.generate.stem_stream import StemConfig, StemContinuation, StemStream, assemble
from melformer.generate.stream import BeatStream
from melformer.generate.take_batch import Beat, Closing, TakeStreams
from melformer.hub import load_bundle
from melformer.hub.parts import load_pointer, load_separator
from melformer.hub.remote import EMBEDDED
from melformer.render.reconstruct import rebuild
from melformer.render.renderer import Renderer
from melformer.runtime.packed import has_bytes, has_halves, use_bytes, use_halves
from melformer.stems import Stems
from melformer.stems.separate import separate
from melformer.stems.separator import Separator
from melformer.transformer.model import BeatTransformer
from melformer.transformer.pointer import Pointer

MAX_NEW_BEATS = 100_000
MAX_TAKES = 16


@dataclass(frozen=True)
class Continuation:
    """A finished continuation: `waveform` is prompt, join and new part; `new` the new part alone; `codes` int64
    (model beats, frames, n_codebooks) of the new part; `lags` and `band_lags` as in `Beat`; `state` goes on
    from its end (None for a take of many); `ending` tells how a closed loop was closed."""

    prompt: Prompt
    waveform: Waveform
    new: Waveform
    codes: np.ndarray
    lags: np.ndarray
    band_lags: np.ndarray
    seed: int
    settings: GenerationConfig
    n_beats: int
    compute_s: float
    state: StreamState | None
    ending: Ending | None = None


class Melformer(nn.Module):
    """A trained model: `codec` and `transformer`, and what musicians do with them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.folder = EMBEDDED
        self.codec = Codec(config.codec)
        self.transformer = BeatTransformer(
            config.transformer, config.codec.latent_frames_per_beat, config.codec.codebook_size
        )
        self.eval()

    @cached_property
    def code_features(self) -> CodeFeatures:
        """What reads the codec's codes."""
        return CodeFeatures.of(self.codec)

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, revision: str | None = None) -> "Melformer":
        """The embedded checkpoint, a folder, or "user/repo" of the Hugging Face Hub at a revision.

        Torch is set to one thread, since on matrices this small a second one gains little, and beside a busy
        neighbour it waits most of the time; call `torch.set_num_threads` afterwards to have it otherwise.
        All parts multiply bytes where the processor can, or the transformer halves (`use_floats` of
        `melformer.runtime.packed` undoes it).
        Errors: CheckpointError when it is missing, damaged or does not fit its configuration.
        """
        bundle = load_bundle(name, revision)
        torch.set_num_threads(1)
        model = cls(bundle.config)
        model.folder = bundle.path
        model.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in bundle.tensors.items()})
        if has_bytes():
            for part in (model.codec.encoder, model.codec.decoder, model.transformer):
                use_bytes(part)
        elif has_halves():
            use_halves(model.transformer)
        _ = model.code_features  # now, not before the first sound
        return model

    @cached_property
    def separator(self) -> Separator:
        """The network that separates loops; the embedded one where the checkpoint has none. Errors: CheckpointError."""
        return load_separator(self.folder)

    def stems(self, loop: str | Path | Waveform | Prompt, bpm: float | None = None) -> Stems:
        """Drums, bass and other of a whole file or loop, as long as it; their sum is the loop.

        Errors: AudioError, TempoError, CheckpointError.
        """
        if isinstance(loop, Prompt):
            return separate(loop.waveform, loop.bpm, self.separator)
        waveform = loop if isinstance(loop, Waveform) else read_waveform(loop)
        path = None if isinstance(loop, Waveform) else Path(loop)
        return separate(waveform, find_tempo(waveform, path=path, bpm=bpm).bpm, self.separator)

    def prompt(self, loop: str | Path | Waveform, **options: Any) -> Prompt:
        """A loop ready to be continued; options: bpm, start_s, beats_per_bar. Errors: see `make_prompt`."""
        return make_prompt(self.codec, loop, **options)

    def stream(
        self, loop: str | Path | Waveform | Prompt, n_beats: int | None = None, seed: int = 0,
        settings: GenerationConfig | None = None, close_loop: bool = False, only_new: bool = False, **options: Any,
    ) -> BeatStream:  # fmt: skip
        """An iterator of new beats, endless if `n_beats` is None.

        With `close_loop` the last bar leads back into the prompt's beginning, or, for playing the new part alone
        (`only_new`), into its own, and prompt and new part (or the new part) can be played round without a seam.
        Errors: RequestError and those of `prompt`.
        """
        check_request(n_beats, [seed])
        prompt = loop if isinstance(loop, Prompt) else self.prompt(loop, **options)
        closing = make_closing(prompt, n_beats, only_new) if close_loop else None
        return BeatStream(self._takes(prompt, [seed], closing), settings or GenerationConfig(), n_beats, seed)

    @cached_property
    def pointer(self) -> Pointer:
        """The network that plans stems; the embedded one where the checkpoint has none. Errors: CheckpointError."""
        return load_pointer(self.folder)

    def stream_stems(
        self, loop: str | Path | Waveform | Prompt, n_beats: int | None = None, seed: int = 0,
        config: StemConfig | None = None, stems: Stems | None = None, **options: Any,
    ) -> StemStream:  # fmt: skip
        """New beats made of the loop's own stems, endless if `n_beats` is None; `stems` where they are at hand.

        Errors: RequestError, CheckpointError, and those of `prompt`.
        """
        check_request(n_beats, [seed])
        prompt = loop if isinstance(loop, Prompt) else self.prompt(loop, **options)
        own = stems or self.stems(prompt)
        if own.drums.samples.shape != prompt.waveform.samples.shape:
            raise RequestError("The stems differ from the loop in length or channels; export all of them alike.")
        return StemStream(self.pointer, prompt, own, config or StemConfig(), n_beats, seed)

    def continue_stems(
        self, loop: str | Path | Waveform | Prompt, n_beats: int = 16, seed: int = 0,
        config: StemConfig | None = None, stems: Stems | None = None, **options: Any,
    ) -> StemContinuation:  # fmt: skip
        """The whole continuation made of the loop's own stems; see `stream_stems`."""
        stream = self.stream_stems(loop, n_beats, seed, config, stems, **options)
        return assemble(stream, list(stream))

    def resume(self, state: StreamState | str | Path, n_beats: int | None = None) -> BeatStream:
        """Go on from a state, or the file it was saved in: `n_beats` more beats, or endlessly. Errors: RequestError."""
        state = state if isinstance(state, StreamState) else StreamState.load(state)
        check_request(n_beats, [])
        takes, settings = restore(self.codec, self.transformer, state, self.code_features)
        end = None if n_beats is None else takes.index + n_beats
        return BeatStream(takes, settings, end, state.facts["seed"])

    def continue_loop(
        self, loop: str | Path | Waveform | Prompt, n_beats: int = 16, seed: int = 0,
        settings: GenerationConfig | None = None, progress: Callable[[Beat], None] | None = None, **options: Any,
    ) -> Continuation:  # fmt: skip
        """The whole continuation at once; `progress` is called with every beat; options as for `stream`."""
        stream = self.stream(loop, n_beats, seed, settings, **options)
        beats = []
        for beat in stream:
            beats.append(beat)
            if progress is not None:
                progress(beat)
        assert stream.join is not None
        ending = stream.takes.endings[0] if stream.takes.endings else None
        return _assemble(stream.prompt, stream.join, beats, seed, stream.settings, stream.state(), ending)

    def takes(
        self, loop: str | Path | Waveform | Prompt, n_beats: int = 16, seeds: list[int] | None = None,
        settings: GenerationConfig | None = None, close_loop: bool = False, only_new: bool = False, **options: Any,
    ) -> list[Continuation]:  # fmt: skip
        """Several continuations, composed in one batch; each is what its seed gives alone."""
        seeds = [0, 1, 2, 3] if seeds is None else seeds
        check_request(n_beats, seeds)
        prompt = loop if isinstance(loop, Prompt) else self.prompt(loop, **options)
        settings = settings or GenerationConfig()
        streams = self._takes(prompt, seeds, make_closing(prompt, n_beats, only_new) if close_loop else None)
        columns = [streams.next_beats(settings) for _ in range(n_beats)]
        endings: list[Ending | None] = list(streams.endings) or [None] * len(seeds)
        return [
            _assemble(prompt, join, list(beats), seed, settings, None, ending)
            for join, beats, seed, ending in zip(streams.joins, zip(*columns), seeds, endings)
        ]

    def ranked(self, takes: list[Continuation]) -> list[Continuation]:
        """Takes of one loop, best first: by the transformer's surprise, and by how far level and brightness drift."""
        return ranked(self.transformer, takes)

    def _takes(self, prompt: Prompt, seeds: list[int], closing: Closing | None = None) -> TakeStreams:
        def renderers() -> list[Renderer]:
            renderer = Renderer(self.codec, prompt)
            return [renderer, *(renderer.fork() for _ in seeds[1:])]

        in_the_making = aside(renderers)
        return TakeStreams(
            BeatGenerator(self.transformer, prompt, seeds, self.code_features), in_the_making, prompt, closing
        )

    def reconstruct(self, waveform: Waveform, bpm: float, n_codebooks: int | None = None) -> Waveform:
        """Encode and decode a loop (its whole beats), from the first `n_codebooks` codebooks and its side codes.

        Errors: TempoError, RequestError for a number of codebooks the model does not have.
        """
        most = self.config.codec.n_codebooks
        if n_codebooks is not None and not 1 <= n_codebooks <= most:
            raise RequestError(f"{n_codebooks} codebooks were asked for; this model has 1 to {most}.")
        prompt = self.prompt(waveform, bpm=bpm, start_s=0.0)
        return rebuild(self.codec, prompt, prompt.codes[..., :n_codebooks])

    def decode_codes(self, prompt: Prompt, codes: np.ndarray) -> Waveform:
        """All codes as sound in the prompt's level, colour and rate: (model beats, frames, n) → a loop."""
        renderer = Renderer(self.codec, prompt)
        return Waveform(renderer.decode_loop(torch.from_numpy(codes)), prompt.waveform.sample_rate)

    def encode(self, waveform: Waveform, bpm: float) -> np.ndarray:
        """Codes of a loop's whole beats: int64 (model beats, frames, n_codebooks)."""
        n_beats = round(waveform.duration_s * bpm / 60.0)
        return encode(self.codec, waveform, bpm, n_beats)


def check_request(n_beats: int | None, seeds: list[int]) -> None:
    """Errors: RequestError for a number of beats, of takes or a seed that is out of range."""
    if n_beats is not None and (isinstance(n_beats, bool) or not isinstance(n_beats, (int, np.integer))):
        raise RequestError(f"The number of beats is {n_beats!r}; it must be a whole number.")
    if n_beats is not None and not 1 <= n_beats <= MAX_NEW_BEATS:
        raise RequestError(f"{n_beats:,} beats were asked for; give 1 to {MAX_NEW_BEATS:,}.")
    if len(seeds) > MAX_TAKES:
        raise RequestError(f"{len(seeds)} takes were asked for; give at most {MAX_TAKES}.")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
            raise RequestError(f"The seed is {seed!r}; it must be a whole number from 0 to 2^63 - 1.")


def make_closing(prompt: Prompt, n_beats: int | None, only_new: bool) -> Closing:
    """Errors: RequestError for a loop that cannot be closed."""
    if n_beats is None or n_beats < 2:
        raise RequestError(f"A loop of {n_beats or 'endless'} new beats cannot be closed; give a number from 2.")
    factor = prompt.model_beats_per_beat
    if n_beats * factor % 1 or prompt.n_model_beats % 1:
        raise RequestError(
            f"At {prompt.bpm:g} BPM the model counts two beats as one: to close the loop, give an even number of beats "
            f"in the loop ({prompt.n_beats}) and in the new part ({n_beats})."
        )
    return Closing(n_beats, only_new)


def _assemble(
    prompt: Prompt, join: np.ndarray, beats: list[Beat], seed: int, settings: GenerationConfig,
    state: StreamState | None, ending: Ending | None,
) -> Continuation:  # fmt: skip
    rate = prompt.waveform.sample_rate
    new = np.concatenate([beat.waveform.samples for beat in beats])
    edges = beat_edges(prompt.n_beats + len(beats), prompt.bpm, rate)
    assert len(new) == edges[-1] - edges[prompt.n_beats]
    whole = np.concatenate([prompt.waveform.samples[: -len(join)], join, new])
    codes = np.concatenate([beat.codes for beat in beats])
    lags, band_lags = (np.concatenate([getattr(beat, name) for beat in beats]) for name in ("lags", "band_lags"))
    return Continuation(
        prompt, Waveform(whole, rate), Waveform(new, rate), codes, lags, band_lags, seed, settings, len(beats),
        sum(beat.compute_s for beat in beats), state, ending,
    )  # fmt: skip
