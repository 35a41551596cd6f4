"""Files to take away: audio at the loop's own rate, `.tiaf`, and a ZIP of all takes."""

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from melformer.audio.io import Waveform, write_waveform
from melformer.audio.metadata import LoopMarkers
from melformer.audio.tiaf import Tiaf, write_tiaf
from melformer.errors import RequestError
from melformer.files import atomic_path
from melformer.render.crossfade import crossfade
from melformer.stems import STEMS
from melformer.ui.session.stem_jobs import PcmStems
from melformer.ui.takes.loops import PromptLoop
from melformer.ui.takes.take import Take

ENCODINGS = {
    "wav": (".wav", "pcm16"),
    "wav24": (".wav", "pcm24"),
    "flac": (".flac", "pcm16"),
    "tiaf": (".tiaf", ""),
}
SEAM_S = 0.03


def file_name(take: Take, suffix: str, part: str = "whole") -> str:
    """`NAME_120bpm_16beats_seed7.wav`; the part is named when it is not the whole take.

    The beats are those of the file: the loop's own and the new ones, or only the new.
    """
    stem = _plain_name(take.loop)
    n_beats = take.n_beats + (0 if part.startswith("new") else take.loop.prompt.n_beats)
    mark = {"whole": "", "new": "_new", "whole-looped": "_looped", "new-looped": "_new_looped"}[part]
    return f"{stem}_{take.loop.prompt.bpm:g}bpm_{n_beats}beats_seed{take.seed}{mark}{suffix}"


def loop_file_name(loop: PromptLoop) -> str:
    """`NAME_120bpm`, without a suffix."""
    return f"{_plain_name(loop)}_{loop.prompt.bpm:g}bpm"


def _plain_name(loop: PromptLoop) -> str:
    name = re.sub(r"[_\-. ]*\d+(\.\d+)?[ _-]*bpm", "", loop.name, flags=re.IGNORECASE)
    return re.sub(r"[^\w\- ]+", "_", name).strip("_ ")[:60] or "loop"


def close_seam(waveform: Waveform, before: np.ndarray) -> Waveform:
    """Fade the end into what is heard `before` the start (n, n_channels), as a join is faded: it loops."""
    n = min(len(before), waveform.n_samples)
    end = crossfade(waveform.samples[-n:], before[-n:])
    return Waveform(np.concatenate([waveform.samples[:-n], end]), waveform.sample_rate)


def part_of(take: Take, part: str) -> Waveform:
    """`whole` or `new`, with `-looped` behind it to close the seam. Errors: RequestError."""
    if part not in ("whole", "new", "whole-looped", "new-looped"):
        raise RequestError(f"part must be whole, new, whole-looped or new-looped, not {part[:40]!r}.")
    only_new = part.startswith("new")
    if only_new and take.n_beats == 0:
        raise RequestError("This take has no new part yet. Press Extend first.")
    waveform = take.new() if only_new else take.whole()
    if not part.endswith("looped"):
        return waveform
    n = round(SEAM_S * waveform.sample_rate)
    prompt = take.loop.prompt.waveform.samples
    return close_seam(waveform, take.before_new(n) if only_new else prompt[-n:])


def export_take(take: Take, folder: Path, kind: str = "wav", part: str = "whole") -> Path:
    """Write one file into `folder` and give its path. Errors: RequestError for an unknown kind or part."""
    if not isinstance(kind, str) or kind not in ENCODINGS:
        raise RequestError(f"kind must be one of {', '.join(ENCODINGS)}, not {str(kind)[:40]!r}.")
    suffix, encoding = ENCODINGS[kind]
    waveform = part_of(take, part)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(take, suffix, part)
    if kind == "tiaf":
        write_tiaf(path, Tiaf.from_waveform(waveform, take.loop.prompt.bpm))
    else:
        markers = loop_markers(take, part, waveform.n_samples)
        write_waveform(path, waveform, bpm=take.loop.prompt.bpm, encoding=encoding, markers=markers)
    return path


def loop_markers(take: Take, part: str, n_samples: int) -> LoopMarkers | None:
    """Where the loop and the new part begin; round goes the new part, or all of what was made to loop."""
    if not take.n_beats:
        return None
    new_from = 0 if part.startswith("new") else n_samples - take.n_new_samples
    points = (("loop", 0), ("new part", new_from)) if new_from else (("new part", 0),)
    return LoopMarkers(points, 0 if part.endswith("looped") else new_from, n_samples)


def export_stem(stems: PcmStems, stem: str, name: str, folder: Path, loop: PromptLoop) -> Path:
    """`NAME_drums.wav`: one stem, 16-bit; 32-bit float where `other` would clip. Errors: RequestError."""
    if stem not in STEMS:
        raise RequestError(f"A stem is one of {', '.join(STEMS)}, not {stem[:40]!r}.")
    samples, most = stems.stem(stem), 32_767
    fits = -most - 1 <= int(samples.min(initial=0)) and int(samples.max(initial=0)) <= most
    waveform = Waveform((samples / np.float32(most + 1)).astype(np.float32), loop.prompt.waveform.sample_rate)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{stem}.wav"
    write_waveform(path, waveform, bpm=loop.prompt.bpm, encoding="pcm16" if fits else "float")
    return path


def export_stems(stems: PcmStems, name: str, folder: Path, loop: PromptLoop) -> Path:
    """A ZIP of the stems that sound; they add up to the mix, sample for sample."""
    path = folder / f"{name}_stems.zip"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for stem in stems.present:
            audio = export_stem(stems, stem, name, folder / "zip", loop)
            archive.write(audio, audio.name)
            audio.unlink()
    return path


def export_all(takes: Sequence[Take], folder: Path, part: str = "whole") -> Path:
    """A ZIP of a part of every take as WAV, and `takes.json` with the seed and the settings of each."""
    if not takes:
        raise RequestError("There are no takes yet. Press Continue first.")
    path = folder / f"{Path(file_name(takes[-1], '')).name.split('_')[0]}_takes.zip"
    notes = []
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for take in takes:
            audio = export_take(take, folder / "zip", part=part)
            name = f"take{take.number}_{audio.name}"
            archive.write(audio, name)
            audio.unlink()
            notes.append({"file": name, "seed": take.seed, "settings": asdict(take.config)})
        archive.writestr("takes.json", json.dumps(notes, indent=2))
    return path
