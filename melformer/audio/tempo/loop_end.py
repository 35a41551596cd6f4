"""Where a loop ends: silence behind its last bar is no part of it, and neither is a tail."""

import numpy as np

from melformer.audio.grid import seconds_per_beat
from melformer.audio.tempo.edges import SoundEdges, attack_times
from melformer.audio.waveform import Waveform

_TAIL_DB = -12.0
_EXACT_S = 0.01


def find_stop(waveform: Waveform, edges: SoundEdges, bpm: float, start_s: float, beats_per_bar: int) -> float | None:
    """Where the loop ends that begins at `start_s`, None at the clip's end.

    A tail is what follows the last bar line behind the last attack, gets softer all the time and is no whole beats long
    with the rest.
    """
    beat_s = seconds_per_beat(bpm)
    bar_s, length_s = beats_per_bar * beat_s, edges.stop_s - start_s
    silent_s, whole_s = edges.duration_s - edges.stop_s, edges.duration_s - start_s
    if silent_s < bar_s and is_bars(whole_s, bpm, beats_per_bar):
        return None  # a pattern may end in a rest
    stop_s = edges.duration_s
    if silent_s > beat_s / 4:
        stop_s = min(start_s + _up_to(length_s, bar_s, whole_s, beat_s), edges.duration_s)
    if _missing_s(whole_s, bpm) < 0.02 * beat_s and stop_s == edges.duration_s:
        return None
    attacks_s = attack_times(waveform)
    last_s = float(attacks_s[-1]) if len(attacks_s) else 0.0
    end_s = start_s + float(np.ceil((last_s - start_s + 0.02) / bar_s)) * bar_s
    if beat_s / 4 < edges.stop_s - end_s < length_s / 2 and _fades(waveform, end_s, edges.stop_s):
        return end_s
    return None if stop_s == edges.duration_s else stop_s


def is_bars(duration_s: float, bpm: float, beats_per_bar: int) -> bool:
    """Whether this is a whole number of bars to 10 ms, which hardly happens by chance."""
    n_beats = round(duration_s / seconds_per_beat(bpm))
    return n_beats > 0 and n_beats % beats_per_bar == 0 and _missing_s(duration_s, bpm) < _EXACT_S


def between(waveform: Waveform, start_s: float, stop_s: float) -> Waveform:
    """A stretch of a clip, of one sample at least."""
    start, stop = round(start_s * waveform.sample_rate), round(stop_s * waveform.sample_rate)
    return waveform if (start, stop) == (0, waveform.n_samples) else waveform.slice(start, max(start + 1, stop))


def _missing_s(duration_s: float, bpm: float) -> float:
    beat_s = seconds_per_beat(bpm)
    return abs(duration_s - round(duration_s / beat_s) * beat_s)


def _up_to(length_s: float, bar_s: float, most_s: float, beat_s: float) -> float:
    """The whole bars that hold so many seconds, or the whole beats where bars would be more than there is."""
    bars_s = float(np.ceil((length_s - 0.05 * beat_s) / bar_s)) * bar_s
    return bars_s if bars_s < most_s + _EXACT_S else float(np.ceil(length_s / beat_s - 0.05)) * beat_s


def _fades(waveform: Waveform, start_s: float, stop_s: float) -> bool:
    """Whether a stretch is softer in its last third than in its first by 12 dB."""
    part = between(waveform, start_s, stop_s).samples
    thirds = [float(np.square(third).mean()) for third in np.array_split(part, 3) if len(third)]
    return len(thirds) == 3 and 10 * np.log10(thirds[2] / max(thirds[0], 1e-20) + 1e-12) < _TAIL_DB
