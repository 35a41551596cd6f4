"""A continuation as a picture: a spectrogram, and under it the stems in the colours of where they come from."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from melformer.audio.waveform import Waveform
from melformer.generate.generated import Continuation
from melformer.stems import STEMS, Stems
from melformer.stems.units import UnitChoice, unit_edges

HUES = (95.0, 325.0)  # as on the page: melformer/ui/static/drawing.js
SATURATION, LIGHTNESS = 0.58, 0.66
PAPER, INK, SOFT, ACCENT = "#16191c", "#ece9e2", "#4a4f55", "#ff9156"
BINS_PER_UNIT = 8  # steps of an outline
RANGE_DB = 70.0


def draw_continuation(made: Continuation, loop_stems: Stems, title: str) -> Any:
    """The loop and what follows it, as a figure; bars are counted from the join.

    Hue is the place in the loop that half a beat comes from, hatching a transposition, by the semitones written there.
    """
    from matplotlib.figure import Figure

    names = loop_stems.present
    figure = Figure(figsize=(11.0, 1.6 + len(names)), layout="constrained", facecolor=PAPER)
    axes = figure.subplots(1 + len(names), 1, height_ratios=[3, *[2] * len(names)], sharex=True)
    _draw_spectrogram(axes[0], made)
    axes[0].set_title(title, fontsize=10, loc="left", color=INK)
    in_order = [UnitChoice(i) for i in range(made.prompt.n_units)]
    for name, axis in zip(names, axes[1:], strict=True):
        loop, new, k = loop_stems[name], made.stems[name], STEMS.index(name)
        zoom = 1.05 * max(float(np.abs(w.samples).max()) for w in (loop, new))
        draw_stem(axis, made, loop, in_order, zoom, first=-made.prompt.n_units)
        draw_stem(axis, made, new, [unit[k] for unit in made.sources], zoom, first=0)
        axis.set(yticks=[], ylim=(-1.0, 1.0))
        axis.set_ylabel(name, color=INK, rotation=0, ha="right", va="center")
    _mark_bars(axes, made)
    return figure


def draw_stem(
    axis: Any, made: Continuation, stem: Waveform, choices: Sequence[UnitChoice], zoom: float, first: int
) -> None:
    """The outlines of a stem's units from unit `first` on, each in the hue of its source."""
    samples, edges = stem.samples.mean(axis=1) / zoom, unit_edges(len(choices), made.prompt.grid)
    shift_before = 0
    for i, choice in enumerate(choices):
        part = samples[edges[i] : edges[i + 1]]
        if choice.silent or not part.any():
            shift_before = 0
            continue
        bins = np.array_split(part, BINS_PER_UNIT)
        low, high = (np.array([of(one) for one in bins]) for of in (np.min, np.max))
        x = first + i + np.linspace(0.0, 1.0, BINS_PER_UNIT)
        halves = (slice(0, BINS_PER_UNIT // 2 + 1), slice(BINS_PER_UNIT // 2, None))  # drums may be cut in the middle
        for half, source in zip(halves, choice.halves, strict=True):
            colour = hue(source / (2 * made.prompt.n_units))
            axis.fill_between(
                x[half], low[half] - 0.02, high[half] + 0.02, facecolor=colour, edgecolor=PAPER, linewidth=0.0,
                hatch="//////" if choice.shift else None,
            )  # fmt: skip
        if choice.shift not in (0, shift_before):
            axis.text(first + i, 0.98, f"{choice.shift:+d}", color=INK, fontsize=7, va="top")
        shift_before = choice.shift


def hue(place: float) -> tuple[float, float, float]:
    """The colour of a place in the loop, 0 to 1."""
    return colorsys.hls_to_rgb((HUES[0] + (HUES[1] - HUES[0]) * place) / 360.0, LIGHTNESS, SATURATION)


def _draw_spectrogram(axis: Any, made: Continuation) -> None:
    from librosa.feature import melspectrogram

    mono = made.waveform.mono()
    power = melspectrogram(y=mono.samples[:, 0], sr=mono.sample_rate, n_mels=96, hop_length=512)
    level = 10.0 * np.log10(np.maximum(power, power.max() * 1e-8))
    extent = (-made.prompt.n_units, len(made.sources), 0, 96)
    top = level.max()
    axis.imshow(level, origin="lower", aspect="auto", extent=extent, vmin=top - RANGE_DB, vmax=top, cmap="magma")
    axis.set(yticks=[])
    axis.set_ylabel("pitch", color=INK, rotation=0, ha="right", va="center")


def _mark_bars(axes: Sequence[Any], made: Continuation) -> None:
    """Lines at bars, one of them where the loop ends, and the new bars' numbers."""
    prompt = made.prompt
    bar = round(prompt.beats_per_bar * prompt.n_units / prompt.n_beats)
    lines = range(-prompt.n_units, len(made.sources), bar)
    for axis in axes:
        axis.set_facecolor(PAPER)
        for spine in axis.spines.values():
            spine.set_visible(False)
        for at in lines:
            axis.axvline(at, color=ACCENT if at == 0 else SOFT, linewidth=1.6 if at == 0 else 0.6)
    axes[-1].set_xlim(-prompt.n_units, len(made.sources))
    axes[-1].set_xticks(lines, ["loop" if at < 0 else f"bar {at // bar + 1}" for at in lines], ha="left")
    for axis in axes:
        axis.tick_params(colors=INK, length=0, labelsize=8)
