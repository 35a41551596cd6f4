"""Which files of a folder are loops."""

from collections.abc import Collection
from pathlib import Path

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")


def audio_files(folder: Path, deep: bool = False, suffixes: Collection[str] = AUDIO_SUFFIXES) -> list[Path]:
    """Audio files of a folder (`deep`: and of all its subfolders), sorted.

    Hidden ones are none: what a killed writer left behind, and the companions `._NAME.wav` that macOS writes. What
    cannot be read stays in the list, for the reader to say so.
    """
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(p for p in found if p.suffix.lower() in suffixes and not p.name.startswith(".") and not p.is_dir())
