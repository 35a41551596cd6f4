"""A trained model as systems that continue prompts: alone, and speaking the true codes."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, repeat

import numpy as np
import torch

from melformer.evaluate.metrics.development import classify_choices
from melformer.evaluate.protocol import MELFORMER, OF_MIXES, Answer, Case, System
from melformer.generate.generation_config import GenerationConfig
from melformer.generate.mixes.continue_mix import continue_mix, sound_of
from melformer.generate.pipeline import Melformer
from melformer.generate.prompt import Prompt


def model_systems(
    model: Melformer, seed: int = 0, settings: GenerationConfig | None = None, variations: Sequence[float] = ()
) -> dict[str, System]:
    """The model itself, and at other `variations`; the true continuation's codes in the player's own sound; and by the
    decoder alone."""
    settings = settings or GenerationConfig()

    def prompt_of(case: Case) -> Prompt:
        return model.prompt(case.prompt, bpm=case.bpm, start_s=0.0, beats_per_bar=case.beats_per_bar)

    def continued(config: GenerationConfig) -> System:
        def system(case: Case) -> Answer:
            made = model.generate(prompt_of(case), case.n_new, seed=seed + case.take, config=config)
            played = made.waveform.slice(0, made.prompt.waveform.n_samples)
            return Answer(made.new, 1.0, played, classify_choices(made.sources, made.prompt.n_units))

        return system

    def of_mixes(case: Case) -> Answer:
        prompt = prompt_of(case)
        made = continue_mix(model, prompt, case.n_new, seed + case.take)
        played = made.waveform.slice(0, prompt.waveform.n_samples)
        return Answer(made.new, float((made.lags != 0).mean()), played)

    def recited(own_sound: float) -> System:
        def system(case: Case) -> Answer | None:
            if case.truth is None:
                return None
            codes = model.encode(case.truth, case.bpm)
            return recite(model, prompt_of(case), codes, case.n_new, own_sound)

        return system

    return {
        MELFORMER: continued(settings),
        **{f"{MELFORMER}, variation {v:g}": continued(replace(settings, variation=v)) for v in variations},
        OF_MIXES: of_mixes,
        "true codes, own sound": recited(1.0),
        "true codes, decoder alone": recited(0.0),
    }


def recite(model: Melformer, prompt: Prompt, codes: np.ndarray, n_beats: int, own_sound: float) -> Answer:
    """Given codes (model beats, frames, n_codebooks) rendered as the continuation of a prompt; after the last one, that
    one again (its sound is cut off)."""
    given = chain(torch.from_numpy(codes), repeat(torch.from_numpy(codes[-1])))
    made = sound_of(model.codec, prompt, given, n_beats, own_sound)
    played = made.waveform.slice(0, prompt.waveform.n_samples)
    return Answer(made.new, float((made.lags != 0).mean()), played)
