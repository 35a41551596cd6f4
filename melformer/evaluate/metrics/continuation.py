"""How well a continuation continues its prompt: rhythm, harmony, drift, repetition, timing.

Everything is measured on sound alone, so that any system's WAV can be a candidate.
"""

from dataclasses import dataclass, fields

import numpy as np

from melformer.audio.grid import BeatGrid, beats_per_second
from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics import onset_agreement, tonality
from melformer.evaluate.metrics.beat_features import SAMPLE_RATE, BeatFeatures, beat_features, fingerprint_distances
from melformer.evaluate.metrics.comparison import nanmean
from melformer.evaluate.metrics.distances import loudness
from melformer.evaluate.metrics.seam import seam_quality

DRIFT_BEATS = 16
SAME_BEAT_DB = 1.0  # mean difference of two fingerprints under which a beat counts as the same
STUCK_BEATS = 8
SILENT_DB = -60.0


@dataclass(frozen=True)
class ContinuationScores:
    """One continuation against its prompt; NaN where the prompt has nothing of the kind."""

    onset_grid_f1: float  # 0 to 1, higher is closer to the prompt
    groove_similarity: float  # −1 to 1
    chroma_cosine: float  # 0 to 1
    key_agreement: float  # 0 to 1
    loudness_drift_db: float  # largest change of a 16-beat block against the prompt
    centroid_drift_octaves: float
    silent_share: float  # of the beats
    stuck_share: float
    novelty: float  # share of beats that no earlier beat equals
    grid_error_ms: float  # median distance of onsets to the 16th grid
    grid_error_p95_ms: float
    tempo_error_percent: float
    length_error_ms: float
    seam_click: float  # 1 is an ordinary beat edge
    seam_jump: float


def score_continuation(
    prompt: Waveform,
    new: Waveform,
    bpm: float,
    n_prompt: int,
    n_new: int,
    beats_per_bar: int = 4,
    played: Waveform | None = None,
) -> ContinuationScores:
    """Measure `n_new` beats that follow a prompt of `n_prompt` beats, both at one rate and starting on a beat.

    `played` is the prompt as it is heard, where its end was faded into the new part; the seam is measured there.
    Errors: AudioError when rates differ or either has less than a beat.
    """
    if prompt.sample_rate != new.sample_rate:
        raise AudioError(f"prompt and continuation differ in rate: {prompt.sample_rate} and {new.sample_rate} Hz")
    a = beat_features(prompt, bpm, n_prompt)
    b = beat_features(new, bpm, n_new, lead=prompt)
    bar = min(beats_per_bar, n_prompt, n_new)
    grid_error = grid_error_ms(b)
    expected = BeatGrid(bpm, new.sample_rate).edge(n_prompt + n_new) - prompt.n_samples
    seam = _seam(played or prompt, new, bpm, n_prompt, n_new)
    return ContinuationScores(
        onset_grid_f1=onset_grid_f1(a.onsets, b.onsets, bar),
        groove_similarity=groove_similarity(a.strength, b.strength, bar),
        chroma_cosine=chroma_cosine(a.chroma, b.chroma, bar),
        key_agreement=tonality.key_agreement(*(tonality.key_of(x.chroma.mean(axis=0)) for x in (a, b))),
        loudness_drift_db=loudness_drift(prompt, new, bpm, n_new),
        centroid_drift_octaves=centroid_drift(a.centroid_octaves, b.centroid_octaves),
        silent_share=float((b.level_db < SILENT_DB).mean()),
        stuck_share=stuck_share(a, b),
        novelty=novelty(a, b),
        grid_error_ms=grid_error[0],
        grid_error_p95_ms=grid_error[1],
        tempo_error_percent=tempo_error(new, bpm),
        length_error_ms=abs(new.n_samples - expected) / new.sample_rate * 1e3,
        seam_click=seam[0],
        seam_jump=seam[1],
    )


def mean_scores(scores: list[ContinuationScores]) -> ContinuationScores:
    """The mean of each measure, NaN left out; of the seams' ratios the geometric mean.

    Errors: AudioError for an empty list.
    """
    if not scores:
        raise AudioError("there is nothing to average: no continuation could be measured")
    means = {}
    for field in fields(ContinuationScores):
        values = [getattr(score, field.name) for score in scores]
        if field.name.startswith("seam_"):
            means[field.name] = float(np.exp(nanmean([float(np.log(value)) for value in values])))
        else:
            means[field.name] = nanmean(values)
    return ContinuationScores(**means)


def _bars(values: np.ndarray, beats_per_bar: int) -> np.ndarray:
    """(n_beats, …) → (n_bars, beats_per_bar, …); what fills no bar is left out."""
    n_bars = len(values) // beats_per_bar
    return values[: n_bars * beats_per_bar].reshape(n_bars, beats_per_bar, *values.shape[1:])


def onset_grid_f1(prompt: np.ndarray, new: np.ndarray, beats_per_bar: int) -> float:
    """Mean over new bars of the best F1 of its 16ths with an onset against a bar of the prompt, 0 to 1.

    Both are bool (n_beats, 4). NaN where the prompt has no onset at all.
    """
    if not prompt.any():
        return float("nan")
    old_bars, new_bars = _bars(prompt, beats_per_bar), _bars(new, beats_per_bar)
    best = [
        max(onset_agreement.f1(int(old.sum()), int(bar.sum()), int((old & bar).sum())) for old in old_bars)
        for bar in new_bars
    ]
    return float(np.mean(best))


def groove_similarity(prompt: np.ndarray, new: np.ndarray, beats_per_bar: int) -> float:
    """Correlation of the mean bar of onset strength in three bands, −1 to 1: (n_beats, 4, 3) both.

    Means are taken out per band, so that noise, which rises everywhere alike, correlates with nothing.
    NaN where the prompt is flat.
    """
    profiles = []
    for strength in (prompt, new):
        profile = _bars(strength, beats_per_bar).mean(axis=0)
        profiles.append(profile - profile.mean(axis=(0, 1)))
    size = [float(np.linalg.norm(p)) for p in profiles]
    if size[0] < 1e-6:
        return float("nan")
    return float((profiles[0] * profiles[1]).sum() / (size[0] * size[1])) if size[1] > 1e-6 else 0.0


def chroma_cosine(prompt: np.ndarray, new: np.ndarray, beats_per_bar: int) -> float:
    """Mean over new bars of the best cosine of its chroma with a bar of the prompt, 0 to 1; (n_beats, 12)
    both.

    NaN where the prompt has no tone.
    """
    if not prompt.any():
        return float("nan")
    old_bars, new_bars = (_bars(x, beats_per_bar).mean(axis=1) for x in (prompt, new))
    return float(np.mean([max(tonality.cosine(bar, old) for old in old_bars) for bar in new_bars]))


def loudness_drift(prompt: Waveform, new: Waveform, bpm: float, n_new: int) -> float:
    """Largest absolute difference in LU between a block of 16 new beats and the prompt."""
    level = loudness(prompt.samples, prompt.sample_rate)
    edges = BeatGrid(bpm, new.sample_rate).edges(n_new)
    blocks = [new.samples[edges[k] : edges[min(k + DRIFT_BEATS, n_new)]] for k in range(0, n_new, DRIFT_BEATS)]
    return max(abs(loudness(block, new.sample_rate) - level) for block in blocks if len(block))


def centroid_drift(prompt: np.ndarray, new: np.ndarray) -> float:
    """Largest absolute difference in octaves between the mean centroid of 16 new beats and the prompt's."""
    blocks = [nanmean(list(new[k : k + DRIFT_BEATS])) for k in range(0, len(new), DRIFT_BEATS)]
    heard = [abs(value - nanmean(list(prompt))) for value in blocks if not np.isnan(value)]
    return max(heard, default=float("nan"))


def _runs(features: BeatFeatures) -> np.ndarray:
    """For each beat, the length of the run of same beats it stands in, int (n_beats,)."""
    marks = features.fingerprint
    same = np.abs(np.diff(marks, axis=0)).mean(axis=1) < SAME_BEAT_DB
    starts = np.concatenate([[0], np.flatnonzero(~same) + 1, [len(marks)]])
    lengths = np.diff(starts)
    return np.repeat(lengths, lengths)


def stuck_share(prompt: BeatFeatures, new: BeatFeatures) -> float:
    """Share of new beats in a run of over 8 same beats; 0 where the prompt repeats one beat throughout."""
    if prompt.n_beats > 1 and _runs(prompt).max() == prompt.n_beats:
        return 0.0
    return float((_runs(new) > STUCK_BEATS).mean())


def novelty(prompt: BeatFeatures, new: BeatFeatures) -> float:
    """Share of new beats that sound like no earlier beat, of the prompt or new."""
    distances = fingerprint_distances(new.fingerprint, np.concatenate([prompt.fingerprint, new.fingerprint]))
    earlier = np.arange(distances.shape[1]) < prompt.n_beats + np.arange(new.n_beats)[:, None]
    return float((np.where(earlier, distances, np.inf).min(axis=1) >= SAME_BEAT_DB).mean())


def grid_error_ms(features: BeatFeatures) -> tuple[float, float]:
    """Median and 95th percentile of the onsets' distance to the nearest 16th; NaN with under an onset per 4
    beats.

    Two onsets on the grid by chance would else put noise above music.
    """
    off = np.abs(features.onset_off_grid_s) * 1e3
    if len(off) < max(4, features.n_beats // 4):
        return float("nan"), float("nan")
    return float(np.median(off)), float(np.quantile(off, 0.95))


def tempo_error(waveform: Waveform, bpm: float, reach: float = 0.06) -> float:
    """How far the clip's pulse is from `bpm`, in percent: 0 to 6; NaN where it has no onsets.

    The tempo whose beats, 8ths and 16ths together hold most of the onset strength, within 6% of `bpm`.
    """
    clip = resample(waveform.mono(), SAMPLE_RATE).samples[:, 0]
    strength = onset_agreement.onset_bands(clip, SAMPLE_RATE).mean(axis=1)
    strength = np.maximum(0.0, strength - strength.mean() - onset_agreement.DELTA_DB)
    used = np.flatnonzero(strength)
    if len(used) < 4:
        return float("nan")
    cycles = used * onset_agreement.hop_s(SAMPLE_RATE) * beats_per_second(bpm)
    ratios = 1.0 + np.linspace(-reach, reach, 1201)
    power = np.zeros(len(ratios))
    for harmonic in (1, 2, 4):
        power += np.abs(np.exp(-2j * np.pi * harmonic * ratios[:, None] * cycles) @ strength[used]) ** 2
    return float(abs(ratios[int(np.argmax(power))] - 1.0) * 100.0)


def _seam(prompt: Waveform, new: Waveform, bpm: float, n_prompt: int, n_new: int) -> tuple[float, float]:
    """Click and jump at the join; NaN where there are too few beats to compare with."""
    channels = min(prompt.n_channels, new.n_channels)
    whole = Waveform(np.concatenate([prompt.samples[:, :channels], new.samples[:, :channels]]), new.sample_rate)
    edges = BeatGrid(bpm, new.sample_rate).edges(n_prompt + n_new)
    try:
        seam = seam_quality(whole, prompt.n_samples, edges)
    except AudioError:
        return float("nan"), float("nan")
    return seam.click, seam.jump
