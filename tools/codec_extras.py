"""More about a codec than its distances: what it does to stereo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melformer.codec.codec import Codec
from melformer.codec.stereo import is_mono, side_bits_per_second
from melformer.evaluate.metrics.comparison import nanmean
from melformer.evaluate.metrics.stereo_error import stereo_error
from melformer.evaluate.sets import EvaluationClip
from melformer.generate.prompt import make_prompt
from melformer.render.prompt_decoder import PromptDecoder
from melformer.render.reconstruct import rebuild


@dataclass(frozen=True)
class StereoScores:
    """A way to bring stereo back: mean errors between the channels (see `StereoError`), and its rate."""

    level_db: float
    correlation: float
    bits_per_second: float


def measure_stereo(clips: Sequence[EvaluationClip], codec: Codec) -> dict[str, StereoScores]:
    """Stereo clips, decoded as mono, in the loop's mean picture (24 bands of the original), and from side codes."""
    names = ("mono", "mean picture", "side codes")
    errors: list[list[tuple[float, float, float]]] = [[], [], []]
    for clip in clips:
        if clip.waveform.n_channels != 2 or is_mono(clip.waveform.samples):
            continue
        prompt = make_prompt(codec, clip.waveform, bpm=clip.bpm, start_s=0.0)
        original, rate = prompt.waveform.samples, prompt.waveform.sample_rate
        decoded = rebuild(codec, prompt, prompt.codes).samples
        picture = PromptDecoder(codec, prompt).decode_loop(prompt.codes)
        mono = np.repeat(decoded.mean(axis=1, keepdims=True), 2, axis=1)
        rates = (0.0, 0.0, side_bits_per_second(prompt.model_bpm))
        for entries, copied, bits in zip(errors, (mono, picture, decoded), rates):
            error = stereo_error(original, copied, rate)
            entries.append((error.level_db, error.correlation, bits))
    return {name: StereoScores(*(nanmean([e[i] for e in all_]) for i in range(3))) for name, all_ in zip(names, errors)}
