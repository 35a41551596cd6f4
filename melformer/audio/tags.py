"""The tempo in a file's metadata."""

from pathlib import Path


def read_bpm_tag(path: str | Path) -> float | None:
    """The BPM that the file's metadata give, or None."""
    return None


def add_bpm_tag(path: str | Path, bpm: float, duration_s: float) -> None:
    """Write the BPM into the metadata of a WAV or FLAC file, in place."""
