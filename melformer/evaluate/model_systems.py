"""A trained model as systems that continue prompts: alone, and speaking the true codes."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from melformer.audio.waveform import Waveform
from melformer.evaluate.metrics.development import UNITS_PER_BEAT, classify_choices
from melformer.evaluate.protocol import IN_STEMS, MELFORMER, Answer, Case, System
from melformer.generate.pipeline import Melformer
from melformer.generate.prompt import Prompt
from melformer.generate.sampling import GenerationConfig
from melformer.generate.take_batch import TakeStreams
from melformer.render.renderer import Renderer

if TYPE_CHECKING:
    from melformer.generate.beat_generator import BeatGenerator


class TeacherForced:
    """Stands where the composer stands, and says given codes (model beats, frames, n_codebooks) instead."""

    def __init__(self, codes: np.ndarray) -> None:
        self.codes, self.n_composed = torch.from_numpy(codes), 0

    def decode_beat(self, settings: GenerationConfig) -> Tensor:
        """The next given beat; after the last one, that one again (its sound is cut off)."""
        beat = self.codes[min(self.n_composed, len(self.codes) - 1)]
        self.n_composed += 1
        return beat[None]


def model_systems(model: Melformer, seed: int = 0, settings: GenerationConfig | None = None) -> dict[str, System]:
    """The model itself; the true continuation's codes in the player's own sound; and by the decoder alone."""
    settings = settings or GenerationConfig()

    def prompt_of(case: Case) -> Prompt:
        return model.prompt(case.prompt, bpm=case.bpm, start_s=0.0, beats_per_bar=case.beats_per_bar)

    def continued(case: Case) -> Answer:
        made = model.generate(prompt_of(case), case.n_new, seed=seed + case.take, config=settings)
        played = made.waveform.slice(0, made.prompt.waveform.n_samples)
        return Answer(made.new, float((made.lags != 0).mean()), played)

    def recited(own_sound: float) -> System:
        def system(case: Case) -> Answer | None:
            if case.truth is None:
                return None
            codes = model.encode(case.truth, case.bpm)
            return recite(model, prompt_of(case), codes, case.n_new, own_sound)

        return system

    def in_stems(case: Case) -> Answer:
        made = model.continue_stems(prompt_of(case), case.n_new, seed + case.take)
        n_units = int(made.prompt.n_beats * made.prompt.model_beats_per_beat * UNITS_PER_BEAT)
        played = made.waveform.slice(0, made.prompt.waveform.n_samples)
        return Answer(made.new, 1.0, played, classify_choices(made.sources, n_units))

    return {
        MELFORMER: continued,
        IN_STEMS: in_stems,
        "true codes, own sound": recited(settings.own_sound),
        "true codes, decoder alone": recited(0.0),
    }


def recite(model: Melformer, prompt: Prompt, codes: np.ndarray, n_beats: int, own_sound: float) -> Answer:
    """Given codes rendered as the continuation of a prompt."""
    reciter: BeatGenerator = TeacherForced(codes)  # type: ignore[assignment]  # it does what TakeStreams asks of a composer
    takes = TakeStreams(reciter, [Renderer(model.codec, prompt)], prompt)
    settings = GenerationConfig(own_sound=own_sound)
    beats = [takes.next_beats(settings)[0] for _ in range(n_beats)]
    samples = np.concatenate([beat.waveform.samples for beat in beats])
    lags = np.concatenate([beat.lags.ravel() for beat in beats])
    rate, join = prompt.waveform.sample_rate, takes.joins[0]
    played = Waveform(np.concatenate([prompt.waveform.samples[: -len(join)], join]), rate)
    return Answer(Waveform(samples, rate), float((lags != 0).mean()), played)
