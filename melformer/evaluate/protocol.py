"""The continuation's part of the report: systems that continue prompts, scored against prompt and truth.

Protocol: a loop of 8 beats or more is cut in two at a bar line, prompt and true continuation; a shorter one
is all prompt, and what follows is measured against it alone. A system gets the prompt and gives what comes
after it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.io import audio_files, read_waveform
from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics.beat_features import beat_features, self_similarity_correlation
from melformer.evaluate.metrics.comparison import compare
from melformer.evaluate.metrics.continuation import ContinuationScores, score_continuation
from melformer.evaluate.metrics.distances import MEL_SCALES
from melformer.evaluate.metrics.new_beats import NewBeatScores, score_new_beats
from melformer.evaluate.sets import EvaluationClip
from melformer.evaluate.systems import references
from melformer.evaluate.systems.best_copy import best_copy
from melformer.evaluate.systems.jumper import jump
from melformer.evaluate.systems.rules import RULES, BarOrders, apply_rule, median_filter_stems

MIN_CUT_BEATS = 8

TRUTH, LOOPED = "the truth", "prompt looped"
MELFORMER, OF_MIXES, JUMPER = "Melformer", "codes of the mix", "jumper"
DRAWN = (MELFORMER, OF_MIXES, JUMPER)
"""Systems whose names begin so give another continuation at each take; the others are asked once."""


@dataclass(frozen=True)
class Case:
    """A prompt to be continued by `n_new` beats, and what really follows (None: not known)."""

    name: str
    bpm: float
    beats_per_bar: int
    n_prompt: int
    n_new: int
    prompt: Waveform
    truth: Waveform | None
    take: int = 0  # counts the continuations wanted of one prompt


@dataclass(frozen=True)
class TruthScores:
    """A continuation against the true one; NaN where the truth is not known or has nothing of the kind."""

    log10_mel_distance: float  # per scale, lower is closer
    mel_distance: float  # DAC's
    stft_distance: float  # DAC's
    chroma_cosine_true: float
    onset_f1_true: float
    loudness_error_db: float
    stereo_level_error_db: float
    stereo_correlation_error: float
    self_similarity: float  # −1 to 1: whether it repeats where the truth does


@dataclass(frozen=True)
class CaseScores:
    """One continuation of one prompt."""

    name: str
    scores: ContinuationScores
    beats: NewBeatScores
    truth: TruthScores
    copied_share: float  # of the frames that were copied from the prompt; NaN for systems that do not say
    embedding: np.ndarray | None = None  # (patches, dim) to an independent listener
    development: dict[str, list[str]] | None = None  # the class of each new beat by stem, where sources are stated


@dataclass(frozen=True)
class Answer:
    """What a system made of a case: the new part alone, from the prompt's end on.

    `played` is the prompt as the system plays it, if it fades its end into the new part. `development` is the class of
    each new beat by stem (`metrics.development`), from systems that state their sources.
    """

    new: Waveform
    copied_share: float = float("nan")
    played: Waveform | None = None
    development: dict[str, list[str]] | None = None


System = Callable[[Case], Answer | None]  # None: it has no answer to this case


def cut(clip: EvaluationClip, beats_per_bar: int = 4, n_new: int | None = None) -> Case:
    """Cut a clip at the bar line nearest its middle, or take it whole as a prompt for `n_new` beats (16)."""
    edges = BeatGrid(clip.bpm, clip.waveform.sample_rate).edges(clip.n_beats)
    bar = min(beats_per_bar, max(1, clip.n_beats // 2))
    n_prompt = max(bar, round(clip.n_beats / 2 / bar) * bar)
    facts = (clip.name, clip.bpm, beats_per_bar)
    if n_new is not None or clip.n_beats < MIN_CUT_BEATS:
        whole = clip.waveform.slice(0, min(clip.waveform.n_samples, int(edges[-1])))
        return Case(*facts, clip.n_beats, n_new or 16, whole, None)
    prompt = clip.waveform.slice(0, int(edges[n_prompt]))
    truth = clip.waveform.slice(int(edges[n_prompt]), min(clip.waveform.n_samples, int(edges[-1])))
    return Case(*facts, n_prompt, clip.n_beats - n_prompt, prompt, truth)


def reference_systems(cases: Sequence[Case]) -> dict[str, System]:
    """What needs no training: the truth, the prompt looped or reordered, another clip, noise, rules, a jumper."""

    def another(case: Case) -> Answer | None:
        others = [c for c in cases if c.name != case.name]
        if not others:
            return None
        return Answer(_at_tempo(others[[c.name for c in cases].index(case.name) % len(others)], case))

    def true(case: Case) -> Answer | None:
        return Answer(case.truth) if case.truth else None

    def copied(case: Case) -> Answer | None:
        if case.truth is None:
            return None
        return Answer(best_copy(case.prompt, case.truth, case.bpm, case.n_prompt, case.n_new), 1.0)

    def shuffled(case: Case) -> Answer | None:
        return Answer(references.shuffled(case.truth, case.bpm, case.n_new)) if case.truth else None

    def looped(case: Case) -> Answer:
        return Answer(references.looped(case.prompt, case.bpm, case.n_new))

    def bars(case: Case) -> Answer | None:
        return Answer(references.bars_reordered(case.prompt, case.bpm, case.n_prompt, case.n_new, case.beats_per_bar))

    def noise(case: Case) -> Answer:
        return Answer(references.white_noise(looped(case).new))

    def jumper(case: Case) -> Answer:
        return Answer(jump(case.prompt, case.bpm, case.n_prompt, case.n_new, case.take))

    return {
        TRUTH: true,
        "best copy of the prompt": copied,
        LOOPED: looped,
        "beats shuffled": shuffled,
        "another loop": another,
        "bars in another order": bars,
        "white noise": noise,
        JUMPER: jumper,
        **_rule_systems(),
    }


def _rule_systems() -> dict[str, System]:
    """The three rules, which share the stems of a case; they have no answer to a prompt that is no four bars."""
    stems_of_last: dict[str, dict[str, Waveform]] = {}

    def stems_of(case: Case) -> dict[str, Waveform]:
        if case.name not in stems_of_last:
            stems_of_last.clear()
            stems_of_last[case.name] = median_filter_stems(case.prompt)
        return stems_of_last[case.name]

    def rule(bars: BarOrders) -> System:
        def system(case: Case) -> Answer | None:
            if case.n_prompt % 4:
                return None
            return Answer(apply_rule(stems_of(case), case.bpm, case.n_prompt, case.n_new, bars))

        return system

    return {name: rule(bars) for name, bars in RULES.items()}


def _at_tempo(other: Case, case: Case) -> Waveform:
    """Another case's prompt, played at this case's tempo as a turntable would, looped to length."""
    rate = case.prompt.sample_rate
    source = resample(other.prompt.mono(), rate).samples[:, 0]
    n_samples = BeatGrid(case.bpm, rate).edge(other.n_prompt)
    played = np.interp(np.linspace(0, len(source) - 1, n_samples), np.arange(len(source)), source)
    channels = np.repeat(played.astype(np.float32)[:, None], case.prompt.n_channels, axis=1)
    return references.looped(Waveform(channels, rate), case.bpm, case.n_new)


def candidate_system(folder: str | Path, cases: Sequence[Case]) -> tuple[System, list[str]]:
    """Another system's files: for the loop NAME.wav, its continuation NAME.wav (or .flac …) in `folder`; and the names
    of cases that have none, which are left out.

    A file holds what follows the prompt and not the prompt.
    Errors: AudioError when `folder` is none, or has no file for any case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"{folder} is no folder: give one with a continuation for each loop, under the same name")
    files = {path.stem: path for path in audio_files(folder)}
    missing = [case.name for case in cases if case.name not in files]
    if cases and len(missing) == len(cases):
        raise AudioError(f"no file in {folder} has the name of a loop, such as {missing[0]}.wav")

    def system(case: Case) -> Answer | None:
        return Answer(read_waveform(files[case.name])) if case.name in files else None

    return system, missing


def run(
    cases: Iterable[Case],
    systems: Mapping[str, System],
    n_takes: int = 1,
    embed: Callable[[Waveform], np.ndarray] | None = None,
    quick: bool = False,
) -> dict[str, list[CaseScores]]:
    """Let every system continue every case, and score it; systems in `DRAWN` do so `n_takes` times.

    `embed` gives an independent listener's embeddings (patches, dim) of what each made. `quick` leaves out distances to
    the truth, which take most of the time. Errors: AudioError when there is no case.
    """
    rows: dict[str, list[CaseScores]] = {name: [] for name in systems}
    n_cases = 0
    for case in cases:
        n_cases += 1
        for name, system in systems.items():
            for take in range(n_takes if name.startswith(DRAWN) else 1):
                answer = system(replace(case, take=take))
                if answer is not None:
                    rows[name].append(score(case, answer, embed, quick))
    if not n_cases:
        raise AudioError("there is no loop to continue")
    return {name: scored for name, scored in rows.items() if scored}


def score(
    case: Case, answer: Answer, embed: Callable[[Waveform], np.ndarray] | None = None, quick: bool = False
) -> CaseScores:
    """One answer to one case, brought to the prompt's rate and channels (loudness sums over channels)."""
    new = resample(answer.new, case.prompt.sample_rate)
    if new.n_channels != case.prompt.n_channels:
        new = Waveform(np.repeat(new.mono().samples, case.prompt.n_channels, axis=1), new.sample_rate)
    scores = score_continuation(
        case.prompt, new, case.bpm, case.n_prompt, case.n_new, case.beats_per_bar, answer.played
    )
    beats = score_new_beats(case.prompt, new, case.bpm, case.n_prompt, case.n_new)
    truth = _no_truth() if quick or case.truth is None else _against_truth(case, case.truth, new)
    embedding = embed(new) if embed else None
    return CaseScores(case.name, scores, beats, truth, answer.copied_share, embedding, answer.development)


def _no_truth() -> TruthScores:
    return TruthScores(*[float("nan")] * len(fields(TruthScores)))


def _against_truth(case: Case, true: Waveform, new: Waveform) -> TruthScores:
    n_samples = true.n_samples
    samples = np.pad(new.samples[:n_samples], ((0, max(0, n_samples - new.n_samples)), (0, 0)))
    scores = compare(true, Waveform(samples, new.sample_rate))
    both = [beat_features(w, case.bpm, case.n_new, lead=case.prompt) for w in (true, new)]
    return TruthScores(
        log10_mel_distance=scores.mel_distance / len(MEL_SCALES),
        mel_distance=scores.mel_distance,
        stft_distance=scores.stft_distance,
        chroma_cosine_true=scores.chroma_cosine,
        onset_f1_true=scores.onset_f1,
        loudness_error_db=scores.loudness_error_db,
        stereo_level_error_db=scores.stereo_level_error_db,
        stereo_correlation_error=scores.stereo_correlation_error,
        self_similarity=self_similarity_correlation(*both),
    )


def by_clip(cases: Sequence[CaseScores]) -> dict[str, list[CaseScores]]:
    """The takes of each clip, in order."""
    clips: dict[str, list[CaseScores]] = {}
    for case in cases:
        clips.setdefault(case.name, []).append(case)
    return clips
