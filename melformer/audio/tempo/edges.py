"""Where the sound of a clip begins and ends, and which stretches of it may hold a whole number of beats."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from melformer.audio.waveform import Waveform

SILENT_DB, ONSET_DB = -75.0, -40.0  # under the clip's peak
NOTABLE_S = 0.004  # shorter silences belong to the sound
CUT_OFF_S = 0.01  # from −40 dB to nothing in less: no sound decays so fast
_FRAMES_PER_S, _RISE_FRAMES = 100, 5
_ATTACK_DB = 6.0


@dataclass(frozen=True)
class SoundEdges:
    """Seconds from the clip's start: where samples first differ from zero, where they first rise above −75 dB of the
    peak, and the same at its end; and where they first rise above −40 dB.

    `before_s` is digital silence that was left out before all this. `is_cut_off`: the sound stops in full swing.
    """

    zero_start_s: float
    start_s: float
    stop_s: float
    zero_stop_s: float
    duration_s: float
    onset_s: float
    before_s: float = 0.0
    is_cut_off: bool = False

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Starts and ends between which the loop may lie, the likeliest first.

        Digital silence is what an editor or a decoder adds, so it is left out first; then the clip as it is, unless its
        sound is cut off, which no rest in a loop does; then what is above −75 dB; at last what begins at −40 dB, since
        encoders leave noise before the first attack.
        """
        starts = distinct_times(
            [self.zero_start_s if self.zero_start_s > NOTABLE_S else 0.0, 0.0, self.start_s, self.onset_s]
        )
        zero_after = self.duration_s - self.zero_stop_s > NOTABLE_S
        inner_stop_s = self.zero_stop_s if zero_after else self.duration_s
        whole = [] if zero_after and self.is_cut_off else [self.duration_s]
        stops = distinct_times([inner_stop_s, *whole, self.stop_s])
        inner = [(start, stop) for start in starts for stop in stops if stop - start > 0.02]
        outer = [(-self.before_s, stop) for stop in stops] if self.before_s else []
        return inner + outer


def leading_zeros(waveform: Waveform) -> int:
    """How many samples of digital silence an editor or a decoder put before the sound; a few belong to it."""
    sounding = reduce(np.logical_or, (waveform.samples != 0.0).T)
    before = int(sounding.argmax())
    return before if before > NOTABLE_S * waveform.sample_rate else 0


def find_edges(waveform: Waveform) -> SoundEdges:
    """Measure a clip; one that is silent all through has its own ends for edges."""
    levels = reduce(np.maximum, np.abs(waveform.samples).T)
    peak, rate = float(levels.max()), waveform.sample_rate
    if not peak:
        return SoundEdges(0.0, 0.0, waveform.duration_s, waveform.duration_s, waveform.duration_s, 0.0)
    zero, soft = (_first_and_last(levels > threshold, rate) for threshold in (0.0, peak * 10 ** (SILENT_DB / 20)))
    loud = levels > peak * 10 ** (ONSET_DB / 20)
    onset_s, last_s = _first_and_last(loud, rate)
    is_cut_off = zero[1] - last_s < CUT_OFF_S
    return SoundEdges(zero[0], soft[0], soft[1], zero[1], waveform.duration_s, onset_s, is_cut_off=is_cut_off)


def _first_and_last(loud: np.ndarray, rate: int) -> tuple[float, float]:
    """Where the first loud sample begins and the last one ends, in s."""
    return int(loud.argmax()) / rate, (len(loud) - int(loud[::-1].argmax())) / rate


def attack_times(waveform: Waveform) -> np.ndarray:
    """When the level rises by 6 dB within 50 ms, to 40 dB under the peak or louder, in s; frames of 10 ms, increasing.

    Onset strength would not do: the noise of a reverb's tail ripples in every band, but its level only falls.
    """
    hop = waveform.sample_rate // _FRAMES_PER_S
    power = np.einsum("ij,ij->i", waveform.samples, waveform.samples)
    power = power[: len(power) // hop * hop].reshape(-1, hop).mean(axis=1)
    if len(power) < 3 or not power.any():
        return np.empty(0)
    level = 10 * np.log10(np.convolve(power, np.ones(3) / 3, "same") / power.max() + 1e-12)
    padded = np.concatenate([np.full(_RISE_FRAMES, -120.0), level])  # the clip's first sound is an attack, too
    before = np.min([padded[k : len(level) + k] for k in range(_RISE_FRAMES)], axis=0)
    return np.flatnonzero((level - before > _ATTACK_DB) & (level > ONSET_DB)) / _FRAMES_PER_S


def distinct_times(times: list[float]) -> list[float]:
    """The times that lie more than 2 ms from those before them."""
    kept: list[float] = []
    for time in times:
        if all(abs(time - other) > 0.002 for other in kept):
            kept.append(time)
    return kept
