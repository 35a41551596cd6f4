"""Pictures: what a reconstruction and a continuation look like beside the original."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.evaluate.metrics.beat_features import SAMPLE_RATE, beat_features, self_similarity
from melformer.evaluate.metrics.spectra import decibels, mel_spectrogram
from melformer.evaluate.protocol import Case, cut
from melformer.evaluate.sets import folder_clips
from melformer.files import atomic_path
from melformer.stems.stems import STEMS
from melformer.stems.units import UnitChoice

if TYPE_CHECKING:
    from melformer.generate.pipeline import Melformer

RANGE_DB = 80.0


def write_plots(
    folder: str | Path, out_dir: str | Path, model: "Melformer | None", limit: int | None = 8
) -> list[Path]:
    """For each loop of a folder: spectrograms, self-similarity matrices and, with a model, its tokens, as
    PNG.

    Errors: AudioError for a folder without usable loops.
    """
    clips, _ = folder_clips(folder)
    written = []
    for clip in clips[:limit]:
        case = cut(clip)
        sounds = {"original": clip.waveform}
        if model is not None:
            sounds["codec alone"] = model.codec.reconstruct(clip.waveform, clip.bpm)
            made = model.generate(case.prompt, case.n_new, bpm=case.bpm, start_s=0.0)
            sounds["prompt + Melformer"] = made.waveform
            path = Path(out_dir) / f"{clip.name}_tokens.png"
            before = made.prompt.codes
            new = made.codes.reshape(-1, *before.shape[1:])
            save(tokens_figure(np.concatenate([before, new]), len(before)), path)
            written.append(path)
            path = Path(out_dir) / f"{clip.name}_sources.png"
            save(sources_figure(made.sources, made.prompt.n_units, clip.name), path)
            written.append(path)
        for kind, figure in (
            ("spectrograms", spectrogram_figure(sounds, clip.name)),
            ("similarity", similarity_figure(sounds, case)),
        ):
            path = Path(out_dir) / f"{clip.name}_{kind}.png"
            save(figure, path)
            written.append(path)
    return written


def save(figure: Any, path: Path) -> None:
    """Write a figure whole or not at all. Errors: OSError."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")


def _axes(n_columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # no pyplot: it keeps figures, and wants a display

    figure = Figure(figsize=(width * n_columns, height), layout="constrained")
    return figure, list(figure.subplots(1, n_columns, squeeze=False)[0])


def spectrogram_figure(sounds: dict[str, Waveform], title: str) -> Any:
    """Mel spectrograms side by side, on one scale of 80 dB under the first one's peak."""
    figure, axes = _axes(len(sounds), 5.0, 4.0)
    figure.suptitle(title)
    top = None
    for axis, (name, sound) in zip(axes, sounds.items(), strict=True):
        clip = resample(sound.mono(), SAMPLE_RATE)
        level = decibels(mel_spectrogram(clip.samples[:, 0], SAMPLE_RATE, 2048, 512, 128)).T
        top = float(level.max()) if top is None else top
        extent = (0.0, clip.duration_s, 0.0, 128.0)
        axis.imshow(level, origin="lower", aspect="auto", extent=extent, vmin=top - RANGE_DB, vmax=top, cmap="magma")
        axis.set(title=name, xlabel="seconds", ylabel="mel band" if axis is axes[0] else "")
    return figure


def similarity_figure(sounds: dict[str, Waveform], case: Case) -> Any:
    """Beat self-similarity matrices side by side; the line is where the prompt ends."""
    figure, axes = _axes(len(sounds), 4.0, 4.0)
    n_beats = case.n_prompt + case.n_new if case.truth is not None else case.n_prompt
    for axis, (name, sound) in zip(axes, sounds.items(), strict=True):
        matrix = self_similarity(beat_features(sound, case.bpm, n_beats))
        axis.imshow(matrix, origin="lower", vmin=0.0, vmax=1.0, cmap="viridis")
        axis.set(title=name, xlabel="beat", ylabel="beat" if axis is axes[0] else "")
        for line in (axis.axhline, axis.axvline):
            line(case.n_prompt - 0.5, color="white", linewidth=0.8)
    return figure


def tokens_figure(codes: np.ndarray, n_prompt: int) -> Any:
    """Codes int64 (beats, frames, n_codebooks) as a picture: time across, codebooks up, colour by entry."""
    from matplotlib.figure import Figure

    flat = codes.reshape(-1, codes.shape[2]).T
    figure = Figure(figsize=(min(24.0, 3.0 + 0.3 * len(codes)), 3.0), layout="constrained")
    axis = figure.subplots()
    # neighbours in a codebook mean nothing, so entries are spread over a cyclic colour map
    axis.imshow(flat * 619 % 1021, origin="lower", aspect="auto", interpolation="nearest", cmap="twilight")
    axis.set(xlabel="beat", ylabel="codebook", title="codes; the line is where the prompt ends")
    axis.set_xticks(np.arange(0, flat.shape[1], codes.shape[1] * 4), np.arange(0, len(codes), 4))
    axis.axvline(n_prompt * codes.shape[1] - 0.5, color="red")
    return figure


def sources_figure(sources: Sequence[tuple[UnitChoice, ...]], n_prompt: int, title: str) -> Any:
    """Where each half model beat of each stem comes from, of the `n_prompt` that the loop has: colour is the place in
    the loop, white silence; numbers are semitones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(24.0, 4.0 + 0.2 * len(sources)), 2.4), layout="constrained")
    axis = figure.subplots()
    picture = draw_sources(axis, sources, n_prompt)
    figure.colorbar(picture, ax=axis, label="half beat of the loop")
    axis.set(title=title, xlabel="new half beat")
    return figure


def draw_sources(axis: Any, sources: Sequence[tuple[UnitChoice, ...]], n_prompt: int) -> Any:
    """The strips of `sources_figure`, drum lowest, in an axis; the picture."""
    halves = [[(np.nan,) * 2 if choice.silent else choice.halves for choice in unit] for unit in sources]
    rows = np.concatenate([np.transpose(unit) for unit in halves]).T / 2  # in half beats
    extent = (0, len(sources), 0, len(STEMS))
    picture = axis.imshow(
        rows,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="twilight",
        extent=extent,
        vmin=0,
        vmax=n_prompt,
    )
    for i, unit in enumerate(sources):
        for k, choice in enumerate(unit):
            if choice.shift and not choice.silent:
                axis.text(i + 0.5, k + 0.5, f"{choice.shift:+d}", ha="center", va="center", fontsize=6)
    axis.set(yticks=np.arange(len(STEMS)) + 0.5, yticklabels=STEMS)
    return picture
