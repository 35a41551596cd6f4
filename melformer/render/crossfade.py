"""Cross-fades that keep the level, however alike the two sounds are."""

import numpy as np


def crossfade(leaving: np.ndarray, entering: np.ndarray) -> np.ndarray:
    """From one sound to another over their whole length: float32 (n, channels) twice → (n, channels).

    Equal power for sounds that have nothing in common; for sounds that agree, the gains add up to one, where equal
    power would swell by 3 dB. The gains at both ends are exactly 1 and 0, or near it for very short fades.
    """
    n = len(leaving)
    phase = (np.arange(n, dtype=np.float64) + 0.5) / max(n, 1) * (np.pi / 2.0)
    out_gain, in_gain = np.cos(phase), np.sin(phase)
    energy = np.sqrt(float((leaving.astype(np.float64) ** 2).sum()) * float((entering.astype(np.float64) ** 2).sum()))
    alike = float((leaving.astype(np.float64) * entering).sum()) / energy if energy > 1e-12 else 0.0
    level = np.sqrt(1.0 + 2.0 * max(alike, 0.0) * out_gain * in_gain)
    mixed = (out_gain / level)[:, None] * leaving + (in_gain / level)[:, None] * entering
    return mixed.astype(np.float32)
