"""Stems as files whose sum is the loop: exact in integers, where nothing clips."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melformer.audio.io import Waveform, write_waveform
from melformer.errors import AudioError
from melformer.stems.stems import Stems

BITS = {"pcm16": 16, "pcm24": 24}


@dataclass(frozen=True)
class StemFiles:
    """What was written: the file of each stem that sounds, and the encoding of all of them."""

    files: dict[str, Path]
    encoding: str


def write_stems(
    stems: Stems, loop: Waveform, folder: str | Path, name: str, bpm: float, encoding: str = "float"
) -> StemFiles:
    """Write `NAME_drums.wav`, `NAME_bass.wav` and `NAME_other.wav`, those that sound, with the BPM in their tags.

    In pcm16 and pcm24 the last stem is what the others leave of the loop, so that the files add up to it exactly; the
    loop must then stand on that grid. Where a stem exceeds full scale, all are written as float instead.
    Errors: AudioError when a name is taken or for another encoding; OSError on a full disk.
    """
    if encoding not in (*BITS, "float"):
        raise AudioError(f"stems are written as {', '.join(BITS)} or float, not {encoding!r}")
    folder = Path(folder)
    files = {stem: folder / f"{name}_{stem}.wav" for stem in stems.present}
    for path in files.values():
        if path.exists():
            raise AudioError(f"{path} exists already; move it, or give another folder.")
    parts = {stem: stems[stem].samples for stem in stems.present}
    rounded = _rounded(parts, loop.samples, BITS[encoding]) if encoding != "float" else None
    encoding = encoding if rounded is not None else "float"
    folder.mkdir(parents=True, exist_ok=True)
    for stem, samples in (rounded or parts).items():
        write_waveform(files[stem], Waveform(samples, loop.sample_rate), bpm=bpm, encoding=encoding)
    return StemFiles(files, encoding)


def _rounded(parts: dict[str, np.ndarray], loop: np.ndarray, n_bits: int) -> dict[str, np.ndarray] | None:
    """Stems on the grid of `n_bits`, the last one being the rest of the loop; None where one exceeds full scale."""
    scale = 2.0 ** (n_bits - 1)
    whole = {name: np.rint(part.astype(np.float64) * scale) for name, part in parts.items()}
    if whole:
        last = list(whole)[-1]
        others = sum((whole[name] for name in whole if name != last), np.zeros(loop.shape))
        whole[last] = np.rint(loop.astype(np.float64) * scale) - others
    if any(part.min() < -scale or part.max() >= scale for part in whole.values()):
        return None
    return {name: (part / scale).astype(np.float32) for name, part in whole.items()}
