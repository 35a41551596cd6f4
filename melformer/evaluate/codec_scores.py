"""The codec's part of the report: how reconstructions of real loops compare, beside codecs everyone knows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from melformer.audio.waveform import Waveform
from melformer.evaluate.metrics import codebook_use as code_statistics
from melformer.evaluate.metrics.comparison import Comparison, compare, mean_of, nanmean
from melformer.evaluate.sets import EvaluationClip
from melformer.evaluate.systems.references import codec_references

Reconstruct = Callable[[Waveform, float], Waveform]  # (clip, bpm) → what the codec makes of it
Encode = Callable[[Waveform, float], np.ndarray]  # (clip, bpm) → codes (beats, frames, n_codebooks)


@dataclass(frozen=True)
class ClipScores:
    """One clip's measures."""

    name: str
    bpm: float
    n_beats: int
    scores: Comparison


@dataclass(frozen=True)
class SystemScores:
    """A system's mean over the clips, its measured rate, and every clip."""

    kbps: float
    mean: Comparison
    clips: list[ClipScores]


@dataclass(frozen=True)
class CodesReport:
    """What the codes of all clips together say."""

    codebooks: list[code_statistics.CodebookUse]
    entropy_kbps: float  # what an ideal entropy coder per codebook would need
    stability: dict[str, list[float]]  # per change: the share of codes per codebook that survive


def measure_codec(
    clips: Sequence[EvaluationClip],
    reconstruct: Reconstruct,
    kbps_at: Callable[[float], float],
    with_visqol: bool = False,
) -> SystemScores:
    """Reconstruct every clip's mono mix and compare; `kbps_at` gives the codes' rate at a BPM."""
    rows = []
    for clip in clips:
        original = clip.waveform.mono()
        scores = compare(original, reconstruct(original, clip.bpm).mono(), with_visqol)
        rows.append(ClipScores(clip.name, clip.bpm, clip.n_beats, scores))
    kbps = float(np.mean([kbps_at(clip.bpm) for clip in clips]))
    return SystemScores(kbps, mean_of([row.scores for row in rows]), rows)


def measure_references(clips: Sequence[EvaluationClip], with_visqol: bool = False) -> dict[str, SystemScores]:
    """The same measures for Opus, MP3 and white noise."""
    systems = {}
    for name, system in codec_references().items():
        rows, rates = [], []
        for clip in clips:
            original = clip.waveform.mono()
            lossy = system(original)
            rows.append(ClipScores(clip.name, clip.bpm, clip.n_beats, compare(original, lossy.waveform, with_visqol)))
            rates.append(lossy.kbps)
        systems[name] = SystemScores(nanmean(rates), mean_of([row.scores for row in rows]), rows)
    return systems


def measure_codes(clips: Sequence[EvaluationClip], encode: Encode, codebook_size: int) -> CodesReport:
    """Usage and entropy over all clips' codes, stability as the mean over clips."""
    per_clip = [encode(clip.waveform.mono(), clip.bpm) for clip in clips]
    use = code_statistics.codebook_use(np.concatenate(per_clip), codebook_size)
    bits_per_beat = per_clip[0].shape[1] * sum(book.entropy_bits for book in use)
    seconds_per_beat = sum(c.waveform.duration_s for c in clips) / sum(len(codes) for codes in per_clip)
    survived = [code_statistics.stability(_at_tempo(encode, clip.bpm), clip.waveform.mono()) for clip in clips]
    stability = {name: np.mean([s[name] for s in survived], axis=0).tolist() for name in survived[0]}
    return CodesReport(use, bits_per_beat / seconds_per_beat / 1000.0, stability)


def _at_tempo(encode: Encode, bpm: float) -> Callable[[Waveform], np.ndarray]:
    return lambda waveform: encode(waveform, bpm)
