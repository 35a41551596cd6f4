"""Takes of one prompt, composed in one batch, sounded one by one."""

import time
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from melformer.audio.grid import beat_edges
from melformer.audio.wav import Waveform
from melformer.generate.compose import Composer
from melformer.generate.prompt import Prompt
from melformer.generate.sampling import Settings
from melformer.generate.voice import Voice


@dataclass(frozen=True)
class Beat:
    """One new beat: its number (0 is the first new one), its sound at the prompt's rate, its codes (model beats,
    frames, n_codebooks), the lags that its frames were copied from (0: decoded), and the seconds it took."""

    index: int
    waveform: Waveform
    codes: np.ndarray
    lags: np.ndarray
    compute_s: float


class TakeStreams:
    """Several takes of one prompt, composed in one batch; `next_beats` gives the next beat of each."""

    def __init__(self, composer: Composer, voices: list[Voice], prompt: Prompt) -> None:
        self.composer, self.voices, self.prompt = composer, voices, prompt
        self.index = 0
        self.joins: list[np.ndarray] = []  # of every take, once beat 0 is there
        self.codes: list[np.ndarray] = []  # of the last model beats, all takes: (K, frames, n_codebooks) each
        self.codes_start = 0

    def next_beats(self, settings: Settings) -> list[Beat]:
        """Compose what is missing, then render beat `index` of every take."""
        begun = time.perf_counter()
        factor = Fraction(self.prompt.model_beats_per_beat)
        needed = self.voices[0].beats_needed((self.index + 1) * factor)
        while self.composer.n_composed < needed:
            codes = self.composer.next_beat(settings)
            self.codes.append(codes.numpy())
            for voice, beat_codes in zip(self.voices, codes):
                voice.push(beat_codes, settings.own_sound)
        start, stop = self._edges(self.index)
        if self.index == 0:
            self.joins = [voice.join() for voice in self.voices]
        sounds = [voice.render(start, stop) for voice in self.voices]
        codes_of_beat, lags = self._codes_of(self.index * factor, (self.index + 1) * factor)
        rate, seconds = self.prompt.waveform.sample_rate, time.perf_counter() - begun
        beats = [
            Beat(self.index, Waveform(sound, rate), codes_of_beat[i], lags[i], seconds)
            for i, sound in enumerate(sounds)
        ]
        self.index += 1
        return beats

    def _edges(self, index: int) -> tuple[int, int]:
        """First and last sample of new beat `index`, counted from the prompt's first sample."""
        first = self.prompt.n_beats + index
        edges = beat_edges(first + 1, self.prompt.bpm, self.prompt.waveform.sample_rate)
        return int(edges[first]), int(edges[first + 1])

    def _codes_of(self, begin: Fraction, end: Fraction) -> tuple[np.ndarray, list[np.ndarray]]:
        """Codes (K, model beats, frames, n) and lags of each take's frames from model beat `begin` to `end`."""
        keep = int(begin) - self.codes_start
        if keep > 4:
            self.codes, self.codes_start = self.codes[keep:], int(begin)
        codes = np.concatenate(self.codes, axis=1)  # (K, frames of all kept beats, n)
        frames = self.voices[0].frames
        low, high = (int((edge - self.codes_start) * frames) for edge in (begin, end))
        cut = codes[:, low:high]
        lags = []
        for voice in self.voices:
            first = int(begin * frames) - voice.state.lags_start
            lags.append(voice.state.lags[first : first + high - low].copy())
        return cut.reshape(len(cut), -1, min(frames, high - low), cut.shape[-1]), lags
