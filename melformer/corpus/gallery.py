"""Pictures of what the engine writes, a page of them, and the loops in `examples/`.

python -m melformer.corpus.gallery examples examples
python -m melformer.corpus.gallery pictures docs/corpus
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.grid import beats_per_second, seconds_per_beat
from melformer.audio.io import Waveform, write_waveform
from melformer.corpus.build import allowed_styles
from melformer.corpus.composition.compose import compose
from melformer.corpus.mixing.mixdown import render
from melformer.corpus.passage import Passage
from melformer.corpus.sound_sources import passage_sources
from melformer.files import atomic_path

# Style, beats and seed of each loop in `examples/`, chosen so that a full band plays in each.
EXAMPLES = (
    ("house", 16, 31), ("drum and bass", 16, 60), ("lo-fi", 16, 4), ("funk", 16, 13), ("trap", 16, 4),
    ("bossa nova", 16, 14), ("synthwave", 16, 14), ("techno", 8, 13),
)  # fmt: skip
# Pictures in `docs/corpus/`: four of the examples, and two passages in which things happen.
PICTURES = (
    ("house", 16, 31), ("drum and bass", 16, 60), ("funk", 16, 13), ("bossa nova", 16, 14), ("trance", 64, 28),
    ("orchestral", 64, 23),
)  # fmt: skip
_COLOURS = {
    "kick": "#4d4d4d", "snare": "#8c564b", "hats": "#bcbd22", "perc": "#ff7f0e", "bass": "#1f77b4", "comp": "#2ca02c",
    "pad": "#17becf", "arp": "#9467bd", "lead": "#d62728", "fx": "#7f7f7f",
}  # fmt: skip
_DRUM_ROWS = {"kick": 24, "snare": 27, "hats": 30, "perc": 33, "fx": 21}


def write_examples(directory: str | Path) -> list[Path]:
    """Write the example loops, stereo FLAC with the BPM in the name; their paths.

    The bytes are the repository's only where the same one-shots and soundfont are installed.
    """
    paths = []
    for style, n_beats, seed in EXAMPLES:
        passage = compose(seed, style, n_beats)
        path = Path(directory) / f"{style.replace(' ', '_')}_{passage.bpm:g}bpm.flac"
        write_waveform(path, render(passage), bpm=passage.bpm)
        paths.append(path)
    return paths


def draw_pictures(directory: str | Path) -> None:
    """Draw the small gallery of the documentation."""
    for style, n_beats, seed in PICTURES:
        passage = compose(seed, style, n_beats)
        stem = style.replace(" ", "_") + (f"_{n_beats}_beats" if n_beats > 16 else "")
        draw_passage(passage, render(passage), Path(directory) / f"{stem}.png")


def gallery(directory: str | Path, styles: Sequence[str] | None = None, seed: int = 1, n_beats: int = 16) -> Path:
    """Draw one loop of every style (or of `styles`), and a page `index.html` that shows them with their sound.

    Errors: RequestError for an unknown style.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for style in allowed_styles(styles):
        passage = compose(seed, style, n_beats)
        waveform = render(passage)
        stem = f"{style.replace(' ', '_')}_{passage.bpm:g}bpm"
        draw_passage(passage, waveform, folder / f"{stem}.png")
        write_waveform(folder / f"{stem}.flac", waveform, bpm=passage.bpm)
        rows.append(_row(passage, stem))
    with atomic_path(folder / "index.html") as page:
        page.write_text(_PAGE.format(rows="\n".join(rows)), encoding="utf-8")
    return folder / "index.html"


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Melformer's composed loops</title>
<style>body{{font:15px sans-serif;max-width:1000px;margin:2em auto}}img{{max-width:100%}}audio{{width:100%}}</style>
<h1>Composed loops, one of each style</h1>
{rows}
</html>"""


def _row(passage: Passage, stem: str) -> str:
    chords = " | ".join(" ".join(bar) for bar in passage.chords)
    made_of = ", ".join(f"{s['name']} ({s['licence']})" for s in passage_sources(passage))
    return (
        f"<h2>{passage.style}: {passage.bpm:g} BPM, {passage.metre}, {passage.key} {passage.mode}</h2>"
        f'<p>{chords}<br>{made_of}</p><img src="{stem}.png" alt="Piano roll, waveform and spectrogram of {stem}">'
        f'<audio controls loop src="{stem}.flac"></audio>'
    )


def draw_passage(passage: Passage, waveform: Waveform, path: str | Path) -> None:
    """Piano roll, waveform and spectrogram over the same beats, as one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(10, 6), sharex=True, height_ratios=(3, 1, 2))
    _draw_roll(axes[0], passage)
    beats = np.arange(waveform.n_samples) * beats_per_second(passage.bpm) / waveform.sample_rate
    axes[1].plot(beats[::16], waveform.mono().samples[::16, 0], linewidth=0.4, color="#1f77b4")
    axes[1].set_ylim(-1, 1)
    mono = waveform.mono().samples[:, 0]
    samples_per_beat = waveform.sample_rate * seconds_per_beat(passage.bpm)
    axes[2].specgram(mono + 1e-6, NFFT=1024, Fs=samples_per_beat, noverlap=512, cmap="magma")
    axes[2].set_yticks([])
    axes[2].set_xlim(0, passage.n_beats)
    axes[2].set_xlabel("beats")
    for axis in axes:
        axis.set_xticks(range(0, passage.n_beats + 1, passage.beats_per_bar))
    figure.suptitle(f"{passage.style}: {passage.bpm:g} BPM, {passage.metre}, {passage.key} {passage.mode}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def _draw_roll(axis: Any, passage: Passage) -> None:
    """Notes at their pitch, drums in rows below them, one colour a part."""
    for part in passage.parts:
        rows = [(e, _DRUM_ROWS[part.name] if e.sound else e.pitch) for e in part.events]
        for event, row in rows:
            length = min(event.duration_beats, 0.12) if event.sound and part.name != "fx" else event.duration_beats
            shade = 0.35 + 0.65 * event.velocity
            axis.broken_barh([(event.start_beats, length)], (row, 1.6), facecolor=_COLOURS[part.name], alpha=shade)
        axis.plot([], [], color=_COLOURS[part.name], linewidth=4, label=part.name)
    axis.legend(fontsize=6, ncols=10, loc="upper center", frameon=False)
    axis.set_ylim(19, 100)
    axis.set_ylabel("pitch (MIDI)", fontsize=8)
    axis.grid(axis="x", alpha=0.3)


if __name__ == "__main__":
    import sys

    {"examples": write_examples, "pictures": draw_pictures}[sys.argv[1]](sys.argv[2])
