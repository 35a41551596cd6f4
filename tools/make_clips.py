"""What the shipped checkpoint makes of the example loops: clips to hear and a picture, by `make clips`.

Each clip is the last bars of a loop and its continuation as `melformer continue` gives it with this seed, unedited but
for the cut and the coding as Ogg Vorbis.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from melformer import Melformer
from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.evaluate.plots import draw_sources

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "clips"
NAMES = ("house_122bpm", "funk_100bpm", "drum_and_bass_178bpm", "lo-fi_81bpm")
RECORDED = ("loop_garzul_120bpm", "loop_compus_148bpm", "loop_tabla_89.94bpm", "loop_electric_97bpm")
SEED, N_BEATS, PROMPT_BEATS = 7, 16, 8
MAX_BYTES = 1_000_000  # of all clips: a repository is not a record shop


def main() -> None:
    """Write docs/clips/*.ogg and docs/clips/clips.jpg, or the picture of recorded loops."""
    parser = argparse.ArgumentParser(description="Clips and pictures of what the embedded checkpoint makes.")
    parser.add_argument("--recorded", type=Path, metavar="DIR", help="set (a) of tools/evaluation_sets.py")
    recorded = parser.parse_args().recorded
    model = Melformer.from_pretrained()
    if recorded:
        takes = [(n, model.generate(recorded / f"{n}.flac", N_BEATS, seed=SEED)) for n in RECORDED]
        figure = picture([(name, take, last_bars(take)) for name, take in takes])
        figure.savefig(FOLDER.parent / "continuations.png", dpi=80)
        return
    FOLDER.mkdir(exist_ok=True)
    made = []
    for name in NAMES:
        continuation = model.generate(ROOT / "examples" / f"{name}.flac", N_BEATS, seed=SEED)
        clip = last_bars(continuation)
        write_ogg(FOLDER / f"{name}_seed{SEED}.ogg", clip)
        made.append((name, continuation, clip))
    picture(made).savefig(FOLDER / "clips.jpg", dpi=80, pil_kwargs={"quality": 80})
    size = sum(path.stat().st_size for path in FOLDER.glob("*.ogg"))
    assert size < MAX_BYTES, f"the clips have {size:,} bytes; at most {MAX_BYTES:,} are kept"


def last_bars(continuation: Any) -> Waveform:
    """The loop's last bars and all that is new."""
    prompt = continuation.prompt
    edges = BeatGrid(prompt.bpm, prompt.waveform.sample_rate).edges(prompt.n_beats)
    first = int(edges[max(0, prompt.n_beats - PROMPT_BEATS)])
    return continuation.waveform.slice(first, continuation.waveform.n_samples)


def write_ogg(path: Path, clip: Waveform) -> None:
    """In pieces: libsndfile's Vorbis encoder overflows its stack on long ones (libsndfile issue 908)."""
    import soundfile

    with soundfile.SoundFile(path, "w", clip.sample_rate, clip.n_channels, "VORBIS", format="OGG") as file:
        for start in range(0, clip.n_samples, 8_192):
            file.write(clip.samples[start : start + 8_192])


def picture(made: list[tuple[str, Any, Waveform]]) -> Any:
    """A spectrogram for each clip; under it, where each stem was taken from."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 2.3 * len(made)), layout="constrained")
    ratios = [5, 2] * len(made)
    axes = figure.subplots(2 * len(made), 1, height_ratios=ratios)
    for (name, continuation, clip), above, below in zip(made, axes[::2], axes[1::2]):
        prompt = continuation.prompt
        shown = min(PROMPT_BEATS, prompt.n_beats)
        _spectrogram(above, clip, -shown, N_BEATS)
        above.set_title(f"{name}, seed {SEED}: the loop ends at the white line", fontsize=9, loc="left")
        _sources(below, continuation, shown)
    axes[-1].set_xlabel("beats after the loop; strips: where in the loop each stem was taken from, white: silent")
    return figure


def _spectrogram(axis: Any, clip: Waveform, first: int, last: int) -> None:
    from librosa.feature import melspectrogram

    power = melspectrogram(y=clip.mono().samples[:, 0], sr=clip.sample_rate, n_mels=96, hop_length=512)
    level = 10.0 * np.log10(np.maximum(power, power.max() * 1e-8))
    top = level.max()
    extent = (first, last, 0, 96)
    axis.imshow(level, origin="lower", aspect="auto", extent=extent, vmin=top - 70, vmax=top, cmap="magma")
    axis.axvline(0, color="white", linewidth=1.5)
    axis.set(xticks=range(first, last + 1, 4), yticks=[], ylabel="pitch")


def _sources(axis: Any, continuation: Any, shown: int) -> None:
    """Strips of the stems: colour is the place in the loop that a half beat was taken from."""
    prompt = continuation.prompt
    draw_sources(axis, continuation.sources, prompt.n_units)
    per_beat = prompt.n_units / prompt.n_beats
    axis.set(xlim=(-shown * per_beat, N_BEATS * per_beat), xticks=[])


if __name__ == "__main__":
    main()
