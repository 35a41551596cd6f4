"""Melformer: separator, codec and transformers, and what musicians do with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from melformer.audio.inputs import AudioInput, open_audio
from melformer.audio.io import Waveform
from melformer.audio.tempo import find_tempo
from melformer.audio.tempo.beat_network import Weights
from melformer.audio.waveform import model_waveform
from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.errors import RequestError
from melformer.generate.generated import Continuation, assemble
from melformer.generate.generation_config import GenerationConfig
from melformer.generate.loop_stems import LoopStems
from melformer.generate.prompt import Prompt, make_prompt, open_stems
from melformer.generate.ranking import ranked
from melformer.generate.redo import redo
from melformer.generate.state import StreamState, restore
from melformer.generate.stream import Beat, BeatStream, Closing, plan_together
from melformer.hub import load_bundle
from melformer.hub.parts import load_pointer, load_separator, load_tracker
from melformer.hub.remote import EMBEDDED
from melformer.hub.shapes import WithoutDrawing
from melformer.render.prompt_decoder import PromptDecoder
from melformer.render.reconstruct import rebuild
from melformer.stems import STEMS, Stems
from melformer.stems.separate import separate
from melformer.stems.separator import Separator
from melformer.transformer.model import BeatTransformer
from melformer.transformer.pointer import Pointer

LoopInput = AudioInput | Prompt | Mapping[str, AudioInput]
BeatCallback = Callable[[Beat], None]
MAX_NEW_BEATS = 100_000
MAX_TAKES = 16


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

    @classmethod
    def from_pretrained(
        cls, name: str | Path | None = None, revision: str | None = None, *, device: str | torch.device = "cpu"
    ) -> "Melformer":
        """The embedded checkpoint, a folder, or "user/repo" of the Hugging Face Hub at a revision.

        `device` is where the transformer of codes is; everything that plays stays on the CPU, where one thread of torch
        is the fastest: `torch.set_num_threads(1)`.
        Errors: CheckpointError when it is missing, damaged or does not fit its configuration, FormatError when it is of
        another version, RequestError for a device that is not there.
        """
        bundle = load_bundle(name, revision)
        with WithoutDrawing():
            model = cls(bundle.config)
        model.folder = bundle.path
        weights = {n: t.float() if t.is_floating_point() else t for n, t in bundle.tensors.items()}
        model.load_state_dict(weights, assign=True)  # as they are: a copy takes longer than all the rest
        try:
            model.transformer.to(device)
        except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
            reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
            words = f"The device {str(device)!r} cannot be used ({reason}); leave it out for the CPU."
            raise RequestError(words) from None
        _ = model.separator, model.pointer, model.tracker  # now, not before the first sound
        return model

    @cached_property
    def separator(self) -> Separator:
        """The network that separates loops; the embedded one where the checkpoint has none. Errors: CheckpointError."""
        return load_separator(self.folder)

    @cached_property
    def tracker(self) -> Weights:
        """The weights that find tempo, beats and bars; the embedded ones where the checkpoint has none. Errors:
        CheckpointError."""
        return load_tracker(self.folder)

    def stems(self, loop: LoopInput, bpm: float | None = None) -> Stems:
        """Drums, bass and other of a whole file or loop, as long as it; their sum is the loop.

        Errors: AudioError, TempoError, CheckpointError.
        """
        if isinstance(loop, Prompt):
            return self._loop_stems(loop).stems
        if isinstance(loop, Mapping):
            return open_stems(loop)[0]
        with open_audio(loop) as (waveform, path):
            return separate(
                waveform, find_tempo(waveform, path=path, bpm=bpm, weights=self.tracker).bpm, self.separator
            )

    def prompt(self, loop: LoopInput, **options: Any) -> Prompt:
        """A loop ready to be continued; options and errors: see `make_prompt`. One that is ready takes no options."""
        self._check_weights()
        if not isinstance(loop, Prompt):
            return make_prompt(self.codec, loop, tracker=self.tracker, **options)
        if options:
            raise RequestError(f"A prompt that is ready cannot be given {', '.join(options)}: give the loop itself.")
        return loop

    @overload
    def generate(
        self, loop: LoopInput, n_beats: int = 16, *, seed: int = 0, config: GenerationConfig | None = None,
        close_loop: bool = False, only_new: bool = False, progress: BeatCallback | None = None, **options: Any,
    ) -> Continuation: ...  # fmt: skip

    @overload
    def generate(
        self, loop: LoopInput, n_beats: int = 16, *, seeds: Sequence[int], config: GenerationConfig | None = None,
        close_loop: bool = False, only_new: bool = False, progress: BeatCallback | None = None, **options: Any,
    ) -> list[Continuation]: ...  # fmt: skip

    def generate(
        self, loop: LoopInput, n_beats: int = 16, *, seed: int = 0, seeds: Sequence[int] | None = None,
        config: GenerationConfig | None = None, close_loop: bool = False, only_new: bool = False,
        progress: BeatCallback | None = None, **options: Any,
    ) -> Continuation | list[Continuation]:  # fmt: skip
        """Continue a loop by `n_beats` beats; with `seeds` several times, each as its seed gives it alone.

        `loop` is a path, a `Waveform`, `(samples, sample_rate)`, an open file, a `Prompt`, or a mapping of stem names
        to any of the first four: the player's own stems. `close_loop` makes the last bar lead back to the beginning of
        the loop, or with `only_new` of the new part. `progress` is called with every new beat (of the first take).
        Options as for `prompt`.
        Errors: RequestError, AudioError, TempoError: subclasses of ValueError with a sentence for people.
        """
        several = [seed] if seeds is None else list(seeds)
        batch = self.stream_takes(loop, n_beats, several, config, close_loop, only_new, **options)
        for beats in batch:
            if progress is not None:
                progress(beats[0])
        made = batch.continuations()
        return made[0] if seeds is None else made

    def stream(
        self, loop: LoopInput, n_beats: int | None = None, seed: int = 0, config: GenerationConfig | None = None,
        close_loop: bool = False, only_new: bool = False, **options: Any,
    ) -> BeatStream:  # fmt: skip
        """An iterator of new beats, endless if `n_beats` is None; loop, closing and options as for `generate`.

        Errors: RequestError and those of `prompt`.
        """
        check_request(n_beats, [seed])
        prompt = self.prompt(loop, **options)
        closing = make_closing(prompt, n_beats, only_new) if close_loop else None
        return self._stream(self._loop_stems(prompt), config or GenerationConfig(), n_beats, seed, closing)

    @cached_property
    def pointer(self) -> Pointer:
        """The transformer that plans stems; the embedded one where the checkpoint has none. Errors: CheckpointError."""
        return load_pointer(self.folder)

    def _loop_stems(self, prompt: Prompt) -> LoopStems:
        """What continuing a prompt needs to know of it, found once."""
        found = prompt.ready.get(self.separator)
        if found is None:
            stems = prompt.stems or separate(prompt.waveform, prompt.bpm, self.separator)
            found = prompt.ready[self.separator] = LoopStems(prompt, stems)
        assert isinstance(found, LoopStems)
        return found

    def _stream(
        self, loop: LoopStems, config: GenerationConfig, n_beats: int | None, seed: int, closing: Closing | None
    ) -> BeatStream:
        return BeatStream(loop, self.pointer, self.codec, config, n_beats, seed, closing)

    def redo(
        self, take: Continuation, beats: tuple[int, int], stems: Sequence[str] | None = None, seed: int = 0,
        config: GenerationConfig | None = None,
    ) -> Continuation:  # fmt: skip
        """New beats `beats` = (first, end) of a take composed anew, all stems or those named, between what stands
        before and after them; all other samples stay, but the 10 ms that lead into the first of them.

        Candidates are judged by how likely they make what follows. Errors: RequestError for beats or stems that the
        take has not.
        """
        return redo(take, self._loop_stems(take.prompt), self.pointer, self.codec, beats, stems, seed, config)

    def resume(self, state: StreamState | str | Path, n_beats: int | None = None) -> BeatStream:
        """Go on from a state, or the file it was saved in: `n_beats` more beats, or endlessly.

        Errors: RequestError for a state that is damaged or another model's, FormatError for one of another version.
        """
        self._check_weights()
        state = state if isinstance(state, StreamState) else StreamState.load(state)
        check_request(n_beats, [])
        stream = restore(self.pointer, self.codec, state)
        stream.n_beats = None if n_beats is None else stream.index + n_beats
        return stream

    def vary(
        self, state: StreamState | str | Path, stems: Sequence[str], n_beats: int | None = None, seed: int = 0,
        config: GenerationConfig | None = None,
    ) -> BeatStream:  # fmt: skip
        """The new beats up to a saved state once more, with `stems` drawn anew and the others as they were; behind them
        all stems are drawn. Errors: as for `resume`, and RequestError for an unknown stem."""
        old = self.resume(state)
        unknown = [name for name in stems if name not in STEMS]
        if unknown or not stems:
            raise RequestError(f"There is no stem {(unknown or [''])[0]!r}; stems are {', '.join(STEMS)}.")
        config = config or replace(old.config, draws=GenerationConfig.draws)  # another seed has lines of its own
        stream = self._stream(old.loop, config, n_beats, seed, None)
        for unit in old.choices[: old.index * old.loop.units_per_beat]:
            stream.decided.append(tuple(None if name in stems else choice for name, choice in zip(STEMS, unit)))
        return stream

    def new_stems(self, state: StreamState | str | Path) -> Stems:
        """The stems of all new beats up to where a stream was saved, as they were heard. Errors: as for `resume`."""
        stream = self.resume(state)
        if not stream.index:
            raise RequestError("This stream has no new beats yet.")
        sounds = stream.mixer.sounds(0, stream.loop.edges(stream.index - 1)[1])
        return Stems(*(Waveform(sound, stream.prompt.waveform.sample_rate) for sound in sounds))

    def stream_takes(
        self, loop: LoopInput, n_beats: int = 16, seeds: Sequence[int] = (0, 1, 2, 3),
        config: GenerationConfig | None = None, close_loop: bool = False, only_new: bool = False, **options: Any,
    ) -> "BatchStream":  # fmt: skip
        """As `generate` with several seeds, a beat of each take at a time, so that one can stop in the middle."""
        check_request(n_beats, list(seeds))
        if n_beats is None or not seeds:
            raise RequestError("Give a number of beats (`stream` goes on without end) and at least one seed.")
        prompt = self.prompt(loop, **options)
        closing = make_closing(prompt, n_beats, only_new) if close_loop else None
        shared, config = self._loop_stems(prompt), config or GenerationConfig()
        return BatchStream([self._stream(shared, config, n_beats, seed, closing) for seed in seeds])

    def ranked(self, takes: list[Continuation]) -> list[Continuation]:
        """Takes of one loop, best first: by the pointer's surprise, and by how far level and brightness drift."""
        return ranked(takes)

    def _check_weights(self) -> None:
        """Errors: RequestError where the weights are no floats of 32 bits, or the codec is not on the CPU."""
        codec, transformer = (next(part.parameters()) for part in (self.codec, self.transformer))
        for name, weight in (("codec", codec), ("transformer", transformer)):
            if weight.dtype != torch.float32:
                kind = str(weight.dtype).removeprefix("torch.")
                raise RequestError(f"The {name} is {kind}; it works in float32 only: call `model.float()`.")
        if codec.device.type != "cpu":
            raise RequestError(
                f"The codec is on {codec.device}; it works on the CPU only: call `model.codec.cpu()`. To compose on "
                f"a GPU, load the model with device={str(transformer.device)!r}, which moves the transformer alone."
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
        decoder = PromptDecoder(self.codec, prompt)
        return model_waveform(decoder.decode_loop(codes), prompt.waveform.sample_rate)

    def encode(self, waveform: Waveform, bpm: float) -> np.ndarray:
        """Codes of a loop's whole beats: int64 (model beats, frames, n_codebooks). Errors: TempoError."""
        return self.codec.encode_loop(waveform, bpm)


class BatchStream:
    """Several takes in the making: an iterator that gives the next beat of each."""

    def __init__(self, streams: list[BeatStream]) -> None:
        self.streams = streams
        self._beats: list[list[Beat]] = [[] for _ in streams]

    def __iter__(self) -> "BatchStream":
        return self

    def __next__(self) -> list[Beat]:
        while self.streams[0].lacks_units:
            plan_together(self.streams)
        for stream, beats in zip(self.streams, self._beats):
            beats.append(next(stream))
        return [beats[-1] for beats in self._beats]

    def continuations(self) -> list[Continuation]:
        """The takes as far as they are made, one beat at least."""
        return [assemble(stream, beats) for stream, beats in zip(self.streams, self._beats)]


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
    return Closing(n_beats, only_new)
