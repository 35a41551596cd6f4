"""How a join sounds: a boundary's statistics against those of the ordinary beat edges around it."""

from dataclasses import dataclass

import numpy as np

from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError

SAMPLE_RATE = 44_100
_CLICK_S, _JUMP_S = 0.003, 0.05


@dataclass(frozen=True)
class Seam:
    """Ratios of a boundary to the geometric mean of the other beat edges: 1 is ordinary, above 2 is heard."""

    click: float  # of the second difference's energy within 3 ms: a step in the waveform
    jump: float  # of the spectral difference between the 50 ms before and after: a break in the sound


def seam_quality(waveform: Waveform, boundary: int, edges: np.ndarray) -> Seam:
    """Measure the boundary at sample `boundary` against beat edges at samples `edges` (the boundary left
    out).

    Beat edges carry attacks, so a join on the beat is compared with its like.
    Errors: AudioError when fewer than two edges lie 50 ms or more inside the clip, or the boundary does not.
    """
    rate = waveform.sample_rate
    clip = resample(waveform.mono(), SAMPLE_RATE).samples[:, 0]
    reach = round(_JUMP_S * SAMPLE_RATE)
    places = [round(place * SAMPLE_RATE / rate) for place in (boundary, *(e for e in edges if abs(e - boundary) > 1))]
    inside = [reach <= place <= len(clip) - reach for place in places]
    if not inside[0] or sum(inside) < 3:
        raise AudioError(
            f"a seam needs 50 ms on both sides and two other beat edges; boundary {boundary} of "
            f"{waveform.n_samples} samples with {sum(inside[1:])} usable edges"
        )
    usable = [place for place, ok in zip(places, inside, strict=True) if ok]
    click = np.array([_click(clip, place) for place in usable])
    jump = np.array([_jump(clip, place, reach) for place in usable])
    return Seam(click=_ratio(click), jump=_ratio(jump))


def _ratio(values: np.ndarray) -> float:
    return float(values[0] / np.exp(np.log(values[1:]).mean()))


def _click(clip: np.ndarray, place: int) -> float:
    """Root of the largest squared second difference near a place, above −100 dB."""
    reach = round(_CLICK_S * SAMPLE_RATE / 2)
    bend = np.diff(clip[max(0, place - reach - 1) : place + reach + 1], 2)
    return float(np.abs(bend).max(initial=0.0)) + 1e-5


def _jump(clip: np.ndarray, place: int, reach: int) -> float:
    """Mean level difference in dB, over bins within 60 dB of the louder side, between before and after."""
    window = np.hanning(reach)
    sides = [np.abs(np.fft.rfft(clip[a : a + reach] * window)) for a in (place - reach, place)]
    floor = max(max(side.max() for side in sides) * 1e-3, 1e-6)
    levels = [20.0 * np.log10(np.maximum(side, floor)) for side in sides]
    return float(np.abs(levels[0] - levels[1]).mean()) + 0.1
