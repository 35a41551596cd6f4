"""How near systems are to the true continuations for an independent listener, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from melformer.errors import AudioError
from melformer.evaluate.bootstrap import Interval, bootstrap, mean_interval
from melformer.evaluate.metrics.comparison import nanmean
from melformer.evaluate.metrics.embedding.embeddings import frechet_distances, mean_cosine
from melformer.evaluate.protocol import LOOPED, TRUTH, CaseScores, by_clip
from melformer.evaluate.systems.rules import RULES


@dataclass(frozen=True)
class EmbeddingSummary:
    """One system's distances; with several takes their means.

    `frechet` is relative to that of the prompts played round. `over_rules` is its height over the line through looping
    and the rules, at the system's own share of new beats: under 0 it is better than rules that cost nothing.
    """

    n_clips: int  # that every system continued
    frechet: Interval
    over_rules: Interval | None  # None where no rule was measured
    cosine: Interval
    cosine_over_looped: Interval


@dataclass(frozen=True)
class _Takes:
    """A system's embeddings: patches (n, dim) by take and clip; its share of new beats by clip."""

    patches: list[list[np.ndarray]]
    new_share: np.ndarray

    def drawn(self, clips: np.ndarray) -> list[np.ndarray]:
        """The patches of the clips of these indices, one array a take."""
        return [np.concatenate([take[i] for i in clips]) for take in self.patches]

    def cosines(self, truth: "_Takes") -> np.ndarray:
        """By clip, the mean over takes."""
        n_clips = len(self.new_share)
        by_take = [[mean_cosine(take[i], truth.patches[0][i]) for i in range(n_clips)] for take in self.patches]
        return np.mean(by_take, axis=0)


def summarise_embeddings(rows: Mapping[str, list[CaseScores]]) -> dict[str, EmbeddingSummary]:
    """Every system's summary on the clips that all have; empty without embeddings, the truth or the looped prompts.

    All systems' intervals rest on the same draws of clips, so that their differences do (a paired bootstrap).
    Errors: AudioError where no clip was continued by all.
    """
    if (
        TRUTH not in rows
        or LOOPED not in rows
        or any(case.embedding is None for cases in rows.values() for case in cases)
    ):
        return {}
    common = set.intersection(*({case.name for case in cases} for cases in rows.values()))
    clips = [case.name for case in rows[TRUTH] if case.name in common]
    if not clips:
        raise AudioError("no clip was continued by every system: give each a file for the same loops")
    systems = {name: _takes(cases, clips) for name, cases in rows.items()}
    truth, looped = systems[TRUTH], systems[LOOPED]

    def heights(chosen: np.ndarray) -> np.ndarray:
        """(systems, 2): each relative distance, and how far it lies over the rules' line."""
        takes = {name: system.drawn(chosen) for name, system in systems.items()}
        distances = iter(frechet_distances([take for drawn in takes.values() for take in drawn], takes[TRUTH][0]))
        by_system = {name: nanmean([next(distances) for _ in drawn]) for name, drawn in takes.items()}
        values = [distance / by_system[LOOPED] for distance in by_system.values()]
        shares = [float(system.new_share[chosen].mean()) for system in systems.values()]
        points = {s: v for name, s, v in zip(systems, shares, values, strict=True) if name in RULES}
        return np.array([[v, v - rules_line(points, s)] for s, v in zip(shares, values, strict=True)])

    drawn, has_rules = bootstrap(heights, len(clips)), any(name in systems for name in RULES)
    looped_cosines, summaries = looped.cosines(truth), {}
    for i, (name, system) in enumerate(systems.items()):
        cosines = system.cosines(truth)
        summaries[name] = EmbeddingSummary(
            n_clips=len(clips),
            frechet=drawn.interval((i, 0)),
            over_rules=drawn.interval((i, 1)) if has_rules else None,
            cosine=mean_interval(list(cosines)),
            cosine_over_looped=mean_interval(list(cosines - looped_cosines)),
        )
    return summaries


def _takes(cases: list[CaseScores], clips: list[str]) -> _Takes:
    takes = by_clip(cases)
    n_takes = min(len(takes[clip]) for clip in clips)
    patches = [[np.asarray(takes[clip][k].embedding) for clip in clips] for k in range(n_takes)]
    return _Takes(patches, np.array([nanmean([c.beats.new_share for c in takes[clip]]) for clip in clips]))


def rules_line(points: Mapping[float, float], share: float) -> float:
    """The height of the line through looping (nothing new: 1) and the rules' points {share of new beats: distance}.

    It is straight between its points and level beyond the last.

    >>> round(rules_line({0.5: 1.0, 1.0: 1.2}, 0.75), 6)
    1.1
    """
    known = {0.0: 1.0, **points}
    shares = sorted(known)
    return float(np.interp(share, shares, [known[s] for s in shares]))
