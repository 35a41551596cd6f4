"""Melformer: a codec and a transformer that continue loops."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from melformer.audio.grid import BeatGrid
from melformer.audio.inputs import AudioInput, open_audio
from melformer.audio.io import Waveform, exact_encoding, write_waveform
from melformer.audio.tempo import find_tempo
from melformer.audio.waveform import model_waveform
from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.errors import RequestError
from melformer.generate.beat_generator import BeatGenerator
from melformer.generate.closing import Ending
from melformer.generate.code_features import CodeFeatures
from melformer.generate.parallel import aside
from melformer.generate.prompt import Prompt, make_prompt
from melformer.generate.ranking import ranked
from melformer.generate.sampling import GenerationConfig
from melformer.generate.state import StreamState, capture, restore
from melformer.generate.stem_stream import StemConfig, StemContinuation, StemStream, assemble
from melformer.generate.stream import BeatStream
from melformer.generate.take_batch import Beat, Closing, TakeStreams
from melformer.hub import load_bundle
from melformer.hub.parts import load_pointer, load_separator
from melformer.hub.remote import EMBEDDED
from melformer.render.prompt_decoder import PromptDecoder
from melformer.render.reconstruct import rebuild
from melformer.render.renderer import Renderer
from melformer.runtime.packed import has_bytes, has_halves, use_bytes, use_halves
from melformer.stems import Stems
from melformer.stems.separate import separate
from melformer.stems.separator import Separator
from melformer.transformer.model import BeatTransformer
from melformer.transformer.pointer import Pointer

LoopInput = AudioInput | Prompt
BeatCallback = Callable[[Beat], None]
MAX_NEW_BEATS = 100_000
MAX_TAKES = 16


@dataclass(frozen=True)
class Continuation:
    """A finished continuation.

    `waveform` is prompt, join and new part; `new` the new part alone; `codes` int64 (model beats, frames, n_codebooks)
    of the new part; `lags` and `band_lags` as in `Beat`; `state` goes on from its end (`Melformer.resume`); `ending`
    tells how a closed loop was closed.
    """

    prompt: Prompt
    waveform: Waveform
    new: Waveform
    codes: np.ndarray
    lags: np.ndarray
    band_lags: np.ndarray
    seed: int
    config: GenerationConfig
    n_beats: int
    compute_s: float
    state: StreamState
    ending: Ending | None = None

    @property
    def settings(self) -> GenerationConfig:
        """Another name of `config`, for one release."""
        return self.config

    @property
    def sources(self) -> np.ndarray:
        """Where each frame and band of the new part comes from: int64 (frames, n_bands), the model beat of the prompt
        that was copied, counted from 0, or −1 where the decoder spoke."""
        n_frames, n_prompt = self.prompt.codes.shape[1], len(self.prompt.codes)
        beats = np.arange(len(self.band_lags)) // n_frames
        return np.where(self.band_lags > 0, (beats[:, None] - self.band_lags) % n_prompt, -1)

    def save(self, path: str | Path, *, only_new: bool = False, replace: bool = True) -> Path:
        """Write it as `.wav` or `.flac`, the prompt's samples bit for bit and the BPM in the file; the path.

        `only_new` leaves the prompt out. Errors: AudioError for another suffix, OSError on a full disk; FileExistsError
        without `replace` for a name that is taken.
        """
        path = Path(path)
        encoding = exact_encoding(self.prompt.waveform.samples, path.suffix.lower())
        part = self.new if only_new else self.waveform
        write_waveform(path, part, bpm=self.prompt.bpm, encoding=encoding, replace=replace)
        return path


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
    def from_pretrained(
        cls, name: str | Path | None = None, revision: str | None = None, *, device: str | torch.device = "cpu"
    ) -> "Melformer":
        """The embedded checkpoint, a folder, or "user/repo" of the Hugging Face Hub at a revision.

        `device` is where the transformer composes; the codec, which is small, stays on the CPU. On a CPU decoder
        and transformer multiply bytes where the processor can, or the transformer halves (`use_floats` of
        `melformer.runtime.packed` undoes it). On a CPU one thread of torch is the fastest: `torch.set_num_threads(1)`.
        Errors: CheckpointError when it is missing, damaged or does not fit its configuration, FormatError when it is of
        another version, RequestError for a device that is not there.
        """
        bundle = load_bundle(name, revision)
        model = cls(bundle.config)
        model.folder = bundle.path
        model.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in bundle.tensors.items()})
        if has_bytes():
            for part in (model.codec.decoder, model.transformer):  # not the encoder: codes are those of training
                use_bytes(part)
        elif has_halves():
            use_halves(model.transformer)
        try:
            model.transformer.to(device)
        except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
            reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
            words = f"The device {str(device)!r} cannot be used ({reason}); leave it out for the CPU."
            raise RequestError(words) from None
        _ = model.code_features  # now, not before the first sound
        return model

    @cached_property
    def separator(self) -> Separator:
        """The network that separates loops; the embedded one where the checkpoint has none. Errors: CheckpointError."""
        return load_separator(self.folder)

    def stems(self, loop: LoopInput, bpm: float | None = None) -> Stems:
        """Drums, bass and other of a whole file or loop, as long as it; their sum is the loop.

        Errors: AudioError, TempoError, CheckpointError.
        """
        if isinstance(loop, Prompt):
            return separate(loop.waveform, loop.bpm, self.separator)
        with open_audio(loop) as (waveform, path):
            return separate(waveform, find_tempo(waveform, path=path, bpm=bpm).bpm, self.separator)

    def prompt(self, loop: LoopInput, **options: Any) -> Prompt:
        """A loop ready to be continued; options and errors: see `make_prompt`."""
        self._check_weights()
        return loop if isinstance(loop, Prompt) else make_prompt(self.codec, loop, **options)

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
        """Continue a loop by `n_beats` beats; with `seeds` several times at once, each as its seed gives it alone.

        `loop` is a path, a `Waveform`, `(samples, sample_rate)`, an open file or a `Prompt`. `close_loop` makes the
        last bar lead back to the beginning of the loop, or with `only_new` of the new part. `progress` is called with
        every new beat (of the first take). Options as for `prompt`.
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
        close_loop: bool = False, only_new: bool = False, *, settings: GenerationConfig | None = None, **options: Any,
    ) -> BeatStream:  # fmt: skip
        """An iterator of new beats, endless if `n_beats` is None; loop, closing and options as for `generate`.

        `settings` is another name of `config`, for one release. Errors: RequestError and those of `prompt`.
        """
        check_request(n_beats, [seed])
        prompt = self.prompt(loop, **options)
        closing = make_closing(prompt, n_beats, only_new) if close_loop else None
        return BeatStream(self._takes(prompt, [seed], closing), config or settings or GenerationConfig(), n_beats, seed)

    @cached_property
    def pointer(self) -> Pointer:
        """The network that plans stems; the embedded one where the checkpoint has none. Errors: CheckpointError."""
        return load_pointer(self.folder)

    def stream_stems(
        self, loop: LoopInput, n_beats: int | None = None, seed: int = 0,
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
        self, loop: LoopInput, n_beats: int = 16, seed: int = 0,
        config: StemConfig | None = None, stems: Stems | None = None, **options: Any,
    ) -> StemContinuation:  # fmt: skip
        """The whole continuation made of the loop's own stems; see `stream_stems`."""
        stream = self.stream_stems(loop, n_beats, seed, config, stems, **options)
        return assemble(stream, list(stream))

    def resume(self, state: StreamState | str | Path, n_beats: int | None = None) -> BeatStream:
        """Go on from a state, or the file it was saved in: `n_beats` more beats, or endlessly.

        Errors: RequestError for a state that is damaged or another model's, FormatError for one of another version.
        """
        self._check_weights()
        state = state if isinstance(state, StreamState) else StreamState.load(state)
        check_request(n_beats, [])
        takes, config = restore(self.codec, self.transformer, state, self.code_features)
        end = None if n_beats is None else takes.index + n_beats
        return BeatStream(takes, config, end, state.facts["seed"])

    def continue_loop(
        self, loop: LoopInput, n_beats: int = 16, seed: int = 0, settings: GenerationConfig | None = None,
        progress: BeatCallback | None = None, **options: Any,
    ) -> Continuation:  # fmt: skip
        """`generate` with one seed, by its former name, for one release."""
        return self.generate(loop, n_beats, seed=seed, config=settings, progress=progress, **options)

    def takes(
        self, loop: LoopInput, n_beats: int = 16, seeds: Sequence[int] | None = None,
        settings: GenerationConfig | None = None, **options: Any,
    ) -> list[Continuation]:  # fmt: skip
        """`generate` with several seeds, by its former name, for one release."""
        return self.generate(loop, n_beats, seeds=(0, 1, 2, 3) if seeds is None else seeds, config=settings, **options)

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
        return BatchStream(self._takes(prompt, list(seeds), closing), config or GenerationConfig(), n_beats, seeds)

    def ranked(self, takes: list[Continuation]) -> list[Continuation]:
        """Takes of one loop, best first: by the transformer's surprise, and by how far level and brightness drift."""
        return ranked(self.transformer, takes)

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
        decoder = PromptDecoder(self.codec, prompt)
        return model_waveform(decoder.decode_loop(codes), prompt.waveform.sample_rate)

    def encode(self, waveform: Waveform, bpm: float) -> np.ndarray:
        """Codes of a loop's whole beats: int64 (model beats, frames, n_codebooks). Errors: TempoError."""
        return self.codec.encode_loop(waveform, bpm)


class BatchStream:
    """Several takes in the making: an iterator that gives the next beat of each, `n_beats` times."""

    def __init__(self, takes: TakeStreams, config: GenerationConfig, n_beats: int, seeds: Sequence[int]) -> None:
        self.takes, self.config, self.n_beats, self.seeds = takes, config, n_beats, seeds
        self._beats: list[list[Beat]] = []

    def __iter__(self) -> "BatchStream":
        return self

    def __next__(self) -> list[Beat]:
        if len(self._beats) >= self.n_beats:
            raise StopIteration
        self._beats.append(self.takes.next_beats(self.config))
        return self._beats[-1]

    def continuations(self) -> list[Continuation]:
        """The takes as far as they are made, one beat at least."""
        rows = zip(self.seeds, zip(*self._beats))
        return [_assemble(self.takes, row, list(beats), seed, self.config) for row, (seed, beats) in enumerate(rows)]


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


def _assemble(takes: TakeStreams, row: int, beats: list[Beat], seed: int, config: GenerationConfig) -> Continuation:
    """One of the takes that were made together, from its beats."""
    prompt, join, rate = takes.prompt, takes.joins[row], takes.prompt.waveform.sample_rate
    new = np.concatenate([beat.waveform.samples for beat in beats])
    edges = BeatGrid(prompt.bpm, rate).edges(prompt.n_beats + len(beats))
    assert len(new) == edges[-1] - edges[prompt.n_beats]
    whole = np.concatenate([prompt.waveform.samples[: -len(join)], join, new])
    parts = ("codes", "lags", "band_lags")
    codes, lags, band_lags = (np.concatenate([getattr(beat, part) for beat in beats]) for part in parts)
    return Continuation(
        prompt, Waveform(whole, rate), Waveform(new, rate), codes, lags, band_lags, seed, config, len(beats),
        sum(beat.compute_s for beat in beats), capture(takes, config, seed, row),
        takes.endings[row] if takes.endings else None,
    )  # fmt: skip
