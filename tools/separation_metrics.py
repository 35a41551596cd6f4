"""How well a mix was taken apart, against its true stems.

Stems are float arrays (n_samples, n_channels) of one shape. One that is silent or sounds alone cannot be judged: NaN.
"""

from collections.abc import Mapping

import numpy as np

from melformer.errors import AudioError
from melformer.evaluate.metrics.distances import channels_of
from melformer.evaluate.metrics.onset_agreement import matches, onset_times
from melformer.evaluate.metrics.spectra import magnitudes

SILENT_DB = -40.0  # a stem this far under the mix does not sound
LIMIT_DB = 80.0
APART_S = 0.05  # onsets of two stems closer than this are one event to a listener
N_FFT, HOP_LENGTH = 4096, 1024
PARTIAL_RANGE_DB = 50.0  # peaks further under the loudest are not looked at
DOMINANT_DB = 12.0  # a peak belongs to the stem that is so much louder there


def sdr_db(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Signal-to-distortion ratio: 10·log10 of the truth's energy over the error's, within ±80 dB.

    No scale or filter is fitted: stems must add up to the mix, so their level counts. NaN for a silent truth.
    Errors: AudioError for arrays that differ in shape, are empty or not finite.
    """
    channels_of(truth, estimate)
    signal, error = _energy(truth), _energy(np.subtract(truth, estimate, dtype=np.float64))
    if signal == 0.0:
        return float("nan")
    return float(np.clip(10.0 * np.log10(signal / max(error, 1e-30)), -LIMIT_DB, LIMIT_DB))


def sdr_improvement_db(truth: np.ndarray, estimate: np.ndarray, mix: np.ndarray) -> float:
    """How much nearer to the truth the estimate is than the mix itself is, in dB.

    NaN where the stem, or all the rest, lies 40 dB or more under the mix: there is nothing to separate.
    """
    limit = _energy(mix) * 10.0 ** (SILENT_DB / 10.0)
    if _energy(truth) <= limit or _energy(np.subtract(mix, truth, dtype=np.float64)) <= limit:
        return float("nan")
    return sdr_db(truth, estimate) - sdr_db(truth, mix)


def onset_leakage(estimate: np.ndarray, truth: np.ndarray, rest: np.ndarray, sample_rate: int) -> float:
    """Share of the other stems' onsets that are heard in this stem, 0 to 1; for drums.

    `rest` is the sum of the other stems. Onsets within 50 ms of one of the true stem's are left out: they say nothing.
    The true stem scores 0, the mix itself 0.6 (engine) to 0.9 (songs), since what is loud masks some of them.
    NaN without such onsets.
    """
    true, others, found = (onset_times(_mono(x), sample_rate) for x in (truth, rest, estimate))
    alone = others[_distance(others, true) > APART_S]
    return matches(alone, found) / len(alone) if len(alone) else float("nan")


def _distance(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far each time is from the nearest of the others; infinity where there are none."""
    return np.abs(times[:, None] - others).min(axis=1, initial=np.inf)


def partial_leakage(estimate: np.ndarray, truth: np.ndarray, rest: np.ndarray) -> float:
    """Share of the energy of the other stems' partials that is left in this stem, 0 to 1; for bass and other.

    Measured at the spectral peaks of `rest` (the sum of the other stems) where it is 12 dB or more above the true stem,
    against what the mix has there. The mix itself scores 1; the true stem at most 0.1. NaN where there is no such peak.
    """
    size, own, others = (magnitudes(_mono(x), N_FFT, HOP_LENGTH) for x in (estimate, truth, rest))
    whole = magnitudes(_mono(np.add(truth, rest)), N_FFT, HOP_LENGTH)
    middle = others[:, 1:-1]
    peak = (middle > others[:, :-2]) & (middle >= others[:, 2:])
    peak &= middle > others.max(initial=0.0) * 10.0 ** (-PARTIAL_RANGE_DB / 20.0)
    peak &= middle > own[:, 1:-1] * 10.0 ** (DOMINANT_DB / 20.0)
    if not peak.any():
        return float("nan")
    left, there = (float(np.square(x[:, 1:-1][peak], dtype=np.float64).sum()) for x in (size, whole))
    return min(1.0, left / there)


def score_separation(
    truth: Mapping[str, np.ndarray], estimate: Mapping[str, np.ndarray], sample_rate: int
) -> dict[str, dict[str, float]]:
    """All measures of every stem: {stem: {"sdr_improvement_db", "sdr_db", "leakage"}}.

    The mix is the sum of the true stems. Leakage is by onsets for drums and by partials for the rest; NaN where the
    stem, or all others, do not sound. Errors: AudioError where an estimate lacks a stem.
    """
    if missing := sorted(set(truth) - set(estimate)):
        raise AudioError(f"the separation lacks {', '.join(missing)}")
    mix = np.sum(list(truth.values()), axis=0)
    scores = {}
    for name, true in truth.items():
        made, rest = estimate[name], mix - true
        improvement = sdr_improvement_db(true, made, mix)
        judged = not np.isnan(improvement)
        leakage = float("nan")
        if judged and name == "drums":
            leakage = onset_leakage(made, true, rest, sample_rate)
        elif judged:
            leakage = partial_leakage(made, true, rest)
        scores[name] = {
            "sdr_improvement_db": improvement,
            "sdr_db": sdr_db(true, made) if judged else float("nan"),
            "leakage": leakage,
        }
    return scores


def _energy(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).sum())


def _mono(samples: np.ndarray) -> np.ndarray:
    return samples.reshape(len(samples), -1).mean(axis=1, dtype=np.float32)
