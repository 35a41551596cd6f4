"""Takes of one prompt, composed in one batch, sounded one by one."""

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.audio.waveform import model_waveform
from melformer.generate.beat_generator import BeatGenerator
from melformer.generate.closing import Ending, compose_ending
from melformer.generate.parallel import side_by_side
from melformer.generate.prompt import Prompt
from melformer.generate.sampling import GenerationConfig
from melformer.render.crossfade import crossfade
from melformer.render.renderer import Renderer


@dataclass(frozen=True)
class Beat:
    """One new beat: its number (0 is the first new one), its sound at the prompt's rate, its codes (model beats,
    frames, n_codebooks), the lags in model beats that its frames were copied from (0: decoded), those of each band
    (frames, n_bands; one band where the model tells none apart), and the seconds it took."""

    index: int
    waveform: Waveform
    codes: np.ndarray
    lags: np.ndarray
    band_lags: np.ndarray
    compute_s: float


@dataclass(frozen=True)
class Closing:
    """A piece that is to be played round: its number of new beats, and whether it returns to the new part's own
    beginning (`only_new`) or to the prompt's."""

    n_beats: int
    only_new: bool = False


class TakeStreams:
    """Several takes of one prompt, composed in one batch; `next_beats` gives the next beat of each.

    With `closing`, the last bar leads back to the head, and the last 30 ms fade into what precedes it.
    """

    def __init__(
        self, generator: BeatGenerator, renderers: Future[list[Renderer]] | list[Renderer], prompt: Prompt,
        closing: Closing | None = None,
    ) -> None:  # fmt: skip
        """Voices may still be in the making: they are waited for when the first beat has been composed."""
        self.generator, self.prompt, self.closing = generator, prompt, closing
        self._renderers = renderers
        self.index = 0
        self.joins: list[np.ndarray] = []  # of every take, once beat 0 is there
        self.lead_ins: list[np.ndarray] = []  # what precedes each take's first sample: float32 (n, channels)
        self.endings: list[Ending] = []  # of every take, once a closing has been composed
        self.pending: deque[torch.Tensor] = deque()  # model beats that are already decided: (K, frames, n) each
        self.heads: list[np.ndarray] = []  # the new part's first bar, all takes, where the piece returns to it
        self.codes: list[np.ndarray] = []  # of the last model beats, all takes: (K, frames, n_codebooks) each
        self.codes_start = 0

    @property
    def renderers(self) -> list[Renderer]:
        """One of every take."""
        if isinstance(self._renderers, Future):
            self._renderers = self._renderers.result()
        return self._renderers

    def next_beats(self, settings: GenerationConfig) -> list[Beat]:
        """Compose what is missing, then render beat `index` of every take."""
        begun = time.perf_counter()
        factor, new = Fraction(self.prompt.model_beats_per_beat), []
        if not self.generator.n_composed:
            new.append(self._next_model_beat(settings))
        needed = self.renderers[0].beats_needed((self.index + 1) * factor)
        while self.generator.n_composed < needed:
            new.append(self._next_model_beat(settings))
        self.codes += [codes.numpy() for codes in new]
        start, stop = self._edges(self.index)

        def sound_of(take: int) -> np.ndarray:
            for codes in new:
                self.renderers[take].push(codes[take], settings.own_sound)
            return self.renderers[take].render(start, stop)

        sounds = side_by_side(sound_of, range(len(self.renderers)))
        if self.index == 0:
            self.lead_ins = [renderer.lead_in() for renderer in self.renderers]
            self.joins = [
                crossfade(self.prompt.waveform.samples[-len(lead_in) :], lead_in) for lead_in in self.lead_ins
            ]
        if self.closing is not None and self.index == self.closing.n_beats - 1:
            for sound, lead_in in zip(sounds, self.lead_ins):
                self._lead_back(sound, lead_in)
        codes_of_beat, sources = self._codes_of(self.index * factor, (self.index + 1) * factor)
        rate, seconds = self.prompt.waveform.sample_rate, time.perf_counter() - begun
        beats = [
            Beat(self.index, model_waveform(sound, rate), codes_of_beat[i], *sources[i], seconds)
            for i, sound in enumerate(sounds)
        ]
        self.index += 1
        return beats

    def _next_model_beat(self, settings: GenerationConfig) -> torch.Tensor:
        """The next model beat of every take, drawn or already decided: int64 (K, frames, n)."""
        if self.closing is not None and self.generator.n_composed == self.n_before_ending:
            self._close(settings)
        if self.pending:
            codes = self.pending.popleft()
            self.generator.append(codes)
            return codes
        codes = self.generator.decode_beat(settings)
        if self.closing is not None and self.closing.only_new and len(self.heads) < self.generator.bar:
            self.heads.append(codes.numpy())
        return codes

    @property
    def n_ending(self) -> int:
        """Model beats that are chosen to lead back: a bar, but at most half of the piece."""
        assert self.closing is not None
        total = int(self.closing.n_beats * self.prompt.model_beats_per_beat)
        return max(1, min(self.generator.bar, total // 2))

    @property
    def n_before_ending(self) -> int:
        """Model beats that are composed as always."""
        assert self.closing is not None
        return int(self.closing.n_beats * self.prompt.model_beats_per_beat) - self.n_ending

    def _close(self, settings: GenerationConfig) -> None:
        """Choose each take's last bar; after it the head is heard again, since the last beat's sound needs it."""
        assert self.closing is not None
        heads = [self.prompt.codes] * len(self.renderers)
        if self.closing.only_new:
            heads = list(np.stack(self.heads, axis=1))
        heads = [head[: self.generator.bar] for head in heads]
        self.endings = [
            compose_ending(self.generator, row, self.n_ending, head, settings) for row, head in enumerate(heads)
        ]
        self.pending.extend(torch.stack([ending.codes for ending in self.endings], dim=1))
        self.pending.extend(torch.from_numpy(np.stack(heads, axis=1)))

    def _lead_back(self, sound: np.ndarray, lead_in: np.ndarray) -> None:
        """Fade the last 30 ms into what precedes the piece's first sample when it is played round, in place."""
        assert self.closing is not None
        before = lead_in if self.closing.only_new else self.prompt.waveform.samples[-len(lead_in) :]
        n = min(len(before), len(sound))
        sound[-n:] = crossfade(sound[-n:], before[-n:])

    def _edges(self, index: int) -> tuple[int, int]:
        """First and last sample of new beat `index`, counted from the prompt's first sample."""
        first = self.prompt.n_beats + index
        edges = BeatGrid(self.prompt.bpm, self.prompt.waveform.sample_rate).edges(first + 1)
        return int(edges[first]), int(edges[first + 1])

    def _codes_of(self, begin: Fraction, end: Fraction) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """Codes (K, model beats, frames, n) from model beat `begin` to `end`, and each take's lags there, of frames
        and of bands."""
        keep = int(begin) - self.codes_start
        if keep > 4:
            self.codes, self.codes_start = self.codes[keep:], int(begin)
        codes = np.concatenate(self.codes, axis=1)  # (K, frames of all kept beats, n)
        frames = self.renderers[0].frames
        low, high = (int((edge - self.codes_start) * frames) for edge in (begin, end))
        cut = codes[:, low:high]
        sources = [renderer.lags_of(int(begin * frames), high - low) for renderer in self.renderers]
        return cut.reshape(len(cut), -1, min(frames, high - low), cut.shape[-1]), sources
