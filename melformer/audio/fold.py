"""The octave of tempo that the model sees."""


def fold_bpm(bpm: float) -> tuple[float, float]:
    """The model's tempo in [90, 180) and model beats per beat, a power of two: 75 → (150, 2)."""
    factor = 1.0
    while bpm * factor < 90.0:
        factor *= 2.0
    while bpm * factor >= 180.0:
        factor /= 2.0
    return bpm * factor, factor
