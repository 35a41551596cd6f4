"""Where the sound of a clip begins and ends, and how long the loop in it may last."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from melformer.audio.tempo.edges import distinct_times
from melformer.audio.waveform import Waveform

SILENT_DB, QUIET_DB = -60.0, -40.0  # under the clip's peak


@dataclass(frozen=True)
class Edges:
    """Seconds from the clip's start: where samples first differ from zero (`zero_start_s`), rise above −60 dB
    (`start_s`) and −40 dB (`onset_s`) of the peak, and the same at its end."""

    zero_start_s: float
    start_s: float
    onset_s: float
    quiet_stop_s: float
    stop_s: float
    zero_stop_s: float
    duration_s: float

    @property
    def spans(self) -> list[tuple[float, float, bool]]:
        """Starts and ends between which a whole number of beats may lie, the clip's own first, each once; and whether
        the span is the whole clip."""
        starts = distinct_times([0.0, self.zero_start_s, self.start_s])
        stops = distinct_times([self.duration_s, self.zero_stop_s, self.stop_s])
        return [(a, b, a == 0.0 and b == self.duration_s) for a in starts for b in stops if b - a > 0.2]


def find_edges(waveform: Waveform) -> Edges:
    """Measure a clip that is not silent all through."""
    levels = reduce(np.maximum, np.abs(waveform.samples).T)
    peak, rate = float(levels.max()), waveform.sample_rate
    starts, stops = [], []
    for threshold in (0.0, peak * 10 ** (SILENT_DB / 20), peak * 10 ** (QUIET_DB / 20)):
        loud = levels > threshold
        starts.append(int(loud.argmax()) / rate)
        stops.append((len(loud) - int(loud[::-1].argmax())) / rate)
    return Edges(*starts, *stops[::-1], waveform.duration_s)
