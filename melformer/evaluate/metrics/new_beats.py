"""What is new in a continuation, beat by beat, and what is only the loop again.

A beat's picture is 24 mel bands by 16 frames in dB. Two beats under 1 dB apart on average, at equal level, are the same
beat to a listener: a fade or a limiter makes no new music. `metrics.continuation.novelty` differs: there a beat must
differ from earlier new beats as well.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from melformer.audio.grid import beat_edges
from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics.spectra import mel_spectrogram

SAMPLE_RATE = 44_100
N_MELS = 24
N_FFT, HOP_LENGTH = 2048, 256
FRAMES_PER_BEAT = 16
FLOOR_DB = -60.0
MAX_GAIN_DB = 12.0  # beats that differ more in level are not the same
SAME_BEAT_DB = 1.0
LOOP_AGAIN_SHARE = 14 / 16  # of the new beats, in the loop's order
FLOOR_PERCENTILE = 10.0  # over time: what sounds between the hits


@dataclass(frozen=True)
class NewBeatScores:
    """One continuation against its prompt."""

    new_share: float  # of the new beats, further than 1 dB from every beat of the prompt
    loop_share: float  # of the new beats, the same as the prompt played round
    floor_rise_db: float  # how far the sound between the hits rose, mean over bands, falls counted as 0
    level_jump_db: float  # the loudest new beat over the prompt's loudest, RMS

    @property
    def is_loop_again(self) -> bool:
        """Whether 14 of 16 new beats are the loop played round."""
        return self.loop_share >= LOOP_AGAIN_SHARE


def score_new_beats(prompt: Waveform, new: Waveform, bpm: float, n_prompt: int, n_new: int) -> NewBeatScores:
    """Compare `n_new` new beats with the `n_prompt` beats of the prompt; both start on a beat, at any rates.

    Errors: AudioError for less than one beat.
    """
    if min(n_prompt, n_new) < 1:
        raise AudioError(f"beats can be compared from one on, got {n_prompt} of the prompt and {n_new} new ones")
    old, made = (_mono(w, bpm, n) for w, n in ((prompt, n_prompt), (new, n_new)))
    levels = _levels_db(old, bpm, n_prompt), _levels_db(made, bpm, n_new)
    gains = np.clip(levels[0] - levels[1][:, None], -MAX_GAIN_DB, MAX_GAIN_DB)
    distances = beat_distances(beat_pictures(made, bpm, n_new), beat_pictures(old, bpm, n_prompt), gains)
    in_order = distances[np.arange(n_new), np.arange(n_new) % n_prompt]
    return NewBeatScores(
        new_share=float((distances.min(axis=1) > SAME_BEAT_DB).mean()),
        loop_share=float((in_order <= SAME_BEAT_DB).mean()),
        floor_rise_db=floor_rise_db(old, made),
        level_jump_db=float(levels[1].max() - levels[0].max()),
    )


def _mono(waveform: Waveform, bpm: float, n_beats: int) -> np.ndarray:
    """One channel at 44.1 kHz of exactly `n_beats`; what is missing is silent."""
    samples = resample(waveform.mono(), SAMPLE_RATE).samples[:, 0]
    n_samples = int(beat_edges(n_beats, bpm, SAMPLE_RATE)[-1])
    return np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples))))


def beat_pictures(samples: np.ndarray, bpm: float, n_beats: int) -> np.ndarray:
    """Each beat's mel picture in dB: (n_samples,) at 44.1 kHz → float32 (n_beats, 16, 24).

    Each beat is cut out first, so that its picture depends on nothing before or after it.
    """
    pictures = []
    for start, stop in pairwise(beat_edges(n_beats, bpm, SAMPLE_RATE)):
        level = _mel_db(samples[start:stop])
        pictures.append(level[np.linspace(0, len(level) - 1, FRAMES_PER_BEAT).astype(int)])
    return np.stack(pictures)


def beat_distances(a: np.ndarray, b: np.ndarray, gains_db: np.ndarray | float = 0.0) -> np.ndarray:
    """Mean level difference in dB of every two pictures, held above −60: (n, 16, 24), (m, 16, 24) → (n, m).

    `gains_db` (n, m) is added to the picture of `a` first: a beat that is only softer or louder is the same beat.
    """
    gains = np.broadcast_to(gains_db, (len(a), len(b)))
    floored = np.maximum(b, FLOOR_DB)
    moved = [np.maximum(picture + gain[:, None, None], FLOOR_DB) for picture, gain in zip(a, gains, strict=True)]
    return np.stack([np.abs(picture - floored).mean(axis=(1, 2)) for picture in moved])


def floor_rise_db(old: np.ndarray, new: np.ndarray) -> float:
    """How far the 10th percentile over time of each mel band rose, falls counted as 0, mean over the bands."""
    floors = [np.percentile(_mel_db(samples), FLOOR_PERCENTILE, axis=0) for samples in (old, new)]
    return float(np.maximum(0.0, floors[1] - floors[0]).mean())


def _mel_db(samples: np.ndarray) -> np.ndarray:
    """(n_samples,) at 44.1 kHz → (frames, 24) in dB, 1e-4 added to the magnitudes (−80 dB)."""
    mel = mel_spectrogram(samples, SAMPLE_RATE, N_FFT, HOP_LENGTH, N_MELS)
    return 20.0 * np.log10(mel + 1e-4)


def _levels_db(samples: np.ndarray, bpm: float, n_beats: int) -> np.ndarray:
    """RMS of each beat in dB of full scale, −120 for silence: (n_beats,)."""
    edges = beat_edges(n_beats, bpm, SAMPLE_RATE)
    power = np.add.reduceat(np.square(samples, dtype=np.float64), edges[:-1]) / np.diff(edges)
    return 10.0 * np.log10(np.maximum(power, 1e-12))
