"""ViSQOL, where it is installed: `pip install libsvm-official visqol-python` (in an environment of its own)."""

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform

_SAMPLE_RATE = 48_000  # what its audio mode was fitted at
_MINIMUM_S = 2


def is_installed() -> bool:
    """Whether `visqol` can be imported."""
    return find_spec("visqol") is not None


def visqol(reference: Waveform, estimate: Waveform) -> float:
    """Predicted mean opinion score of the mono mixes, 1 (bad) to 4.73 (equal), audio mode; NaN where not
    installed.

    Chinen et al. 2020 (arXiv 2004.09584). Loops under two seconds are played round, as it wants some patches to
    compare. About a second of computing for each second of sound: only on request.
    """
    if not is_installed():
        return float("nan")
    pair = [resample(w.mono(), _SAMPLE_RATE).samples[:, 0].astype(np.float64) for w in (reference, estimate)]
    n_samples = min(len(x) for x in pair)
    times = -(-_MINIMUM_S * _SAMPLE_RATE // n_samples)
    played = [np.tile(x[:n_samples], times) for x in pair]
    return float(_api().measure_from_arrays(*played, _SAMPLE_RATE).moslqo)


@lru_cache(maxsize=1)
def _api() -> Any:
    """ViSQOL's fitted model, loaded once."""
    api = import_module("visqol").VisqolApi()  # no package of ours needs it
    # our pairs are aligned to the sample; a search would only hide a codec's delay
    api.create(mode="audio", disable_global_alignment=True)
    return api
