"""What a system's continuations say together: means over clips, and how sure they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from melformer.evaluate.bootstrap import Interval, mean_interval
from melformer.evaluate.embedding_summary import EmbeddingSummary, summarise_embeddings
from melformer.evaluate.metrics.comparison import nanmean
from melformer.evaluate.metrics.continuation import ContinuationScores, mean_scores
from melformer.evaluate.metrics.development import SILENT, class_distance, class_shares
from melformer.evaluate.protocol import LOOPED, TRUTH, CaseScores, TruthScores, by_clip
from melformer.stems import STEMS

MANNERS = ("groove_similarity", "chroma_cosine", "loudness_drift_db")
"""Scores against the prompt in which a continuation should be as the true one is: looping is too faithful in them."""
PEOPLE = Path(__file__).parent / "people.json"
"""How stems go on in music that people wrote: written by tools/development_report.py."""
NEW_SHARE_OF_INTEREST = 0.2  # floors are compared on clips of which so much is new


@dataclass(frozen=True)
class BeatSummary:
    """What is new against the prompt, over all clips and takes."""

    new_share: Interval  # of the beats
    loop_again: Interval  # share of clips that are the loop played round
    floor_rise_db: float  # where over 20% is new; NaN where no clip is
    level_jump_db: float  # the largest of all


@dataclass(frozen=True)
class DevelopmentSummary:
    """What one stem did, from stated sources; `distance` from what people do (total variation, 0 to 1)."""

    shares: dict[str, float]  # by class
    distance: float


@dataclass(frozen=True)
class ContinuationSystem:
    """One system's means and cases; `closer_than`: the share of clips with a lower mel distance than others.

    `manner` tells how far its `MANNERS`, as measured against the prompt, are from the truth's, clip by clip and on
    average, and `manner_nearer` on what share of the clips they are nearer than those of the prompt looped.
    """

    mean: ContinuationScores
    mean_truth: TruthScores
    copied_share: float
    closer_than: dict[str, float]
    manner: dict[str, float]
    manner_nearer: dict[str, float]
    beats: BeatSummary
    embedding: EmbeddingSummary | None
    development: dict[str, DevelopmentSummary]  # by stem; empty for systems that state no sources
    cases: list[CaseScores]


def summarise(rows: Mapping[str, list[CaseScores]]) -> dict[str, ContinuationSystem]:
    """Every system's summary. Errors: AudioError for a system without cases."""
    embeddings = summarise_embeddings(rows)
    return {name: _system(cases, rows, embeddings.get(name)) for name, cases in rows.items()}


def _system(
    cases: list[CaseScores], rows: Mapping[str, list[CaseScores]], embedding: EmbeddingSummary | None
) -> ContinuationSystem:
    truth = {f.name: nanmean([getattr(c.truth, f.name) for c in cases]) for f in fields(TruthScores)}
    return ContinuationSystem(
        mean=mean_scores([case.scores for case in cases]),
        mean_truth=TruthScores(**truth),
        copied_share=nanmean([case.copied_share for case in cases]),
        closer_than={name: _closer(cases, others) for name, others in rows.items() if others is not cases},
        manner={name: nanmean([d for ds in _manner(cases, rows, name).values() for d in ds]) for name in MANNERS},
        manner_nearer={name: _nearer(cases, rows, name) for name in MANNERS},
        beats=_beat_summary(cases),
        embedding=embedding,
        development=summarise_development(cases),
        cases=[replace(case, embedding=None) for case in cases],  # large, and no use once they are compared
    )


def _beat_summary(cases: list[CaseScores]) -> BeatSummary:
    clips = by_clip(cases).values()
    new = [nanmean([case.beats.new_share for case in takes]) for takes in clips]
    again = [nanmean([float(case.beats.is_loop_again) for case in takes]) for takes in clips]
    floors = [case.beats.floor_rise_db for case in cases if case.beats.new_share > NEW_SHARE_OF_INTEREST]
    jump = max(case.beats.level_jump_db for case in cases)
    return BeatSummary(mean_interval(new), mean_interval(again), nanmean(floors), jump)


def summarise_development(cases: list[CaseScores]) -> dict[str, DevelopmentSummary]:
    """Over all clips in which the stem sounds at all."""
    classes: dict[str, list[str]] = {stem: [] for stem in STEMS}
    for case in cases:
        for stem, found in (case.development or {}).items():
            classes[stem] += found if set(found) != {SILENT} else []
    shares = {stem: class_shares(found) for stem, found in classes.items() if found}
    if not shares:
        return {}
    people = json.loads(PEOPLE.read_text(encoding="utf-8"))["people"]
    return {stem: DevelopmentSummary(s, class_distance(s, people[stem])) for stem, s in shares.items()}


def _manner(cases: list[CaseScores], rows: Mapping[str, list[CaseScores]], name: str) -> dict[str, list[float]]:
    """How far one of a system's scores is from the truth's, by clip and take."""
    true = {case.name: getattr(case.scores, name) for case in rows.get(TRUTH, [])}
    clips = {clip: takes for clip, takes in by_clip(cases).items() if clip in true}
    return {clip: [abs(getattr(c.scores, name) - true[clip]) for c in takes] for clip, takes in clips.items()}


def _nearer(cases: list[CaseScores], rows: Mapping[str, list[CaseScores]], name: str) -> float:
    """Share of the common clips where that is less than for the prompt looped; NaN where there are none."""
    looped, ours = _manner(rows.get(LOOPED, []), rows, name), _manner(cases, rows, name)
    pairs = [(mine, looped[clip][0]) for clip, takes in ours.items() if clip in looped for mine in takes]
    return nanmean([float(a < b) for a, b in pairs if not np.isnan(a) and not np.isnan(b)])


def _closer(cases: list[CaseScores], others: list[CaseScores]) -> float:
    """Share of the common clips with a lower mel distance to the truth than the others' first take; NaN without one."""
    theirs = {case.name: case.truth.mel_distance for case in reversed(others)}
    pairs = [(c.truth.mel_distance, theirs[c.name]) for c in cases if c.name in theirs]
    return nanmean([float(a < b) for a, b in pairs if not np.isnan(a) and not np.isnan(b)])
