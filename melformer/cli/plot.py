"""A picture of codes, for `melformer tokens --plot`."""

from pathlib import Path
from typing import Any

from melformer.files import atomic_path


def plot_codes(codes: Any, path: Path) -> None:
    """Draw codes (n_beats, frames, n_codebooks): time to the right, codebooks upwards, a line per beat."""
    import numpy as np
    from matplotlib.figure import Figure  # no pyplot: its global state would look for a display

    codes = np.asarray(codes)
    n_beats, _, n_codebooks = codes.shape
    figure = Figure(figsize=(min(40.0, 2 + n_beats), 3.5), layout="constrained")
    axes = figure.add_subplot()
    # Neighbouring indices mean nothing, so colours are shuffled: equal codes look equal, near ones do not.
    colour = np.random.default_rng(0).permutation(int(codes.max()) + 1)[codes]
    axes.imshow(colour.reshape(-1, n_codebooks).T, aspect="auto", origin="lower", cmap="twilight",
                interpolation="nearest", extent=(0, n_beats, 0.5, n_codebooks + 0.5))  # fmt: skip
    for beat in range(1, n_beats):
        axes.axvline(beat, color="white", linewidth=1.5 if beat % 4 == 0 else 0.5)
    axes.set(xlabel="beat", ylabel="codebook")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
