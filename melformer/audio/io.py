"""Audio files in and out: read what strangers send within fixed limits, write exactly what was given."""

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from melformer.audio.grid import check_bpm
from melformer.audio.metadata import LoopMarkers, add_bpm_tag, add_loop_markers, read_bpm_tag
from melformer.audio.repair import SplicedFile, repaired
from melformer.audio.sniff import FORMATS, SUBTYPES, check_kind, open_regular, reason
from melformer.audio.waveform import MAX_CHANNELS, MAX_VALUES, Waveform, check_sample_rate
from melformer.errors import AudioError
from melformer.files import atomic_path

__all__ = ["Waveform", "read_bpm_tag", "read_waveform", "write_waveform"]

MAX_S = 600.0
ENCODINGS = {"pcm16": ("PCM_16", 16), "pcm24": ("PCM_24", 24), "float": ("FLOAT", 0)}
_BLOCK = 65_536


def read_waveform(path: str | Path, max_s: float = MAX_S) -> Waveform:
    """Read a wav, flac, ogg, opus, mp3 or aiff file of at most `max_s` seconds, at its own rate.

    The first bytes decide the format, not the name. Never decodes more than `max_s` seconds, whatever a
    header claims. Errors: AudioError when the file is missing, unreadable, no such audio, too long, outside
    8,000..192,000 Hz or 1..8 channels, or holds NaN.
    """
    path = Path(path)
    with open_regular(path) as raw:
        check_kind(raw, path.name)
        samples, rate, _ = _read_parts(raw, path.name, max_s)
    try:
        return Waveform(samples, rate)
    except AudioError as error:
        raise AudioError(f"{path.name}: {error}") from None


def _read_parts(
    raw: BinaryIO, name: str, max_s: float, kept_s: float = MAX_S, kept_values: int = MAX_VALUES
) -> tuple[np.ndarray, int, int]:
    """The samples that are kept, the rate, and how many samples there are, also of a file that libsndfile alone would
    read half. Errors: AudioError."""
    parts: list[np.ndarray] = []
    rate, n_read, n_kept = 0, 0, 0
    sources: Sequence[BinaryIO | SplicedFile] = repaired(raw) or [raw]
    for source in sources:
        with open_sound(source, name) as file:
            if parts and (file.samplerate, file.channels) != (rate, parts[0].shape[1]):
                raise AudioError(
                    f"{name} is a chain of streams of different kinds ({rate:,} Hz and {parts[0].shape[1]} channels, "
                    f"then {file.samplerate:,} Hz and {file.channels}): export it as one WAV or FLAC"
                )
            rate = file.samplerate
            done_s, n_channels = n_read / max(rate, 1), max(file.channels, 1)
            part, n = _read_samples(
                file, name, max_s - done_s, kept_s - n_kept / max(rate, 1), kept_values - n_kept * n_channels
            )
            parts.append(part)
            n_read, n_kept = n_read + n, n_kept + len(part)
    return np.concatenate(parts) if len(parts) > 1 else parts[0], rate, n_read


def read_beginning(path: str | Path, max_s: float, kept_s: float, kept_values: int) -> tuple[Waveform, float]:
    """The first `kept_s` seconds of a file, at most `kept_values` samples of all channels, and how long it lasts in s.

    Of a long file no more than that is ever in memory; the rest is decoded to be counted. Errors: as `read_waveform`.
    """
    path = Path(path)
    with open_regular(path) as raw:
        check_kind(raw, path.name)
        samples, rate, n_read = _read_parts(raw, path.name, max_s, kept_s, kept_values)
    try:
        return Waveform(samples, rate), n_read / rate
    except AudioError as error:
        raise AudioError(f"{path.name}: {error}") from None


def write_waveform(
    path: str | Path, waveform: Waveform, *, bpm: float | None = None, encoding: str = "pcm16", replace: bool = True,
    markers: LoopMarkers | None = None,
) -> None:  # fmt: skip
    """Write a `.wav` or `.flac` file (the suffix decides), whole or not at all.

    Samples are never rescaled. pcm16 and pcm24 round them and clip at full scale; float keeps every bit.
    `bpm` goes where DAWs and `read_bpm_tag` look: the ACID chunk of a WAV, the BPM comment of a FLAC. `markers` are for
    a WAV; a FLAC has no place for them.
    Errors: AudioError for another suffix or encoding (FLAC has no float); TempoError for an impossible BPM; OSError
    on a full disk, FileExistsError without `replace` for a name that is taken.
    """
    path = Path(path)
    kind = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if kind is None:
        raise AudioError(f"cannot write {path.name}: the name must end in .wav or .flac")
    if encoding not in ENCODINGS or (kind == "FLAC" and encoding == "float"):
        raise AudioError(f"cannot write {path.name} as {encoding!r}: choose pcm16, pcm24 or (WAV only) float")
    if bpm is not None:
        bpm = check_bpm(bpm)
    subtype, n_bits = ENCODINGS[encoding]
    if kind == "WAV" and waveform.samples.size * (n_bits or 32) // 8 > 2**32 - 4096:
        raise AudioError(f"{path.name} would be larger than a WAV can be (4 GB): write FLAC")
    with atomic_path(path, replace=replace) as temporary:
        with new_sound(temporary, path, (waveform.sample_rate, waveform.n_channels, subtype, kind)) as file:
            for start in range(0, waveform.n_samples, _BLOCK):
                file.write(to_integers(waveform.samples[start : start + _BLOCK], n_bits))
        if bpm is not None:
            add_bpm_tag(temporary, bpm, waveform.duration_s)
        if markers is not None and kind == "WAV":
            add_loop_markers(temporary, markers, waveform.sample_rate)


def exact_encoding(samples: np.ndarray, suffix: str) -> str:
    """The smallest encoding that keeps these samples bit for bit, so that a prompt stays the user's own.

    A FLAC holds no floats: samples that need them are rounded to 24 bits there.
    """
    for encoding, scale in (("pcm16", 2.0**15), ("pcm24", 2.0**23)):
        scaled = samples * scale
        if -scale <= scaled.min() and scaled.max() < scale and np.array_equal(scaled, np.rint(scaled)):
            return encoding
    return "float" if suffix == ".wav" else "pcm24"


@contextmanager
def new_sound(temporary: Path, path: Path, shape: tuple[int, int, str, str]) -> Iterator[soundfile.SoundFile]:
    """A file to write samples to, which will be called `path`; `shape` is rate, channels, subtype and format.

    libsndfile gives a full disk many names, and none where only the last bytes are missing: so those are read again.
    Errors: OSError where not everything could be written.
    """
    rate, n_channels, subtype, kind = shape
    name = os.fsencode(temporary) if os.name == "posix" else temporary  # soundfile cannot encode all names under LANG=C
    try:
        with soundfile.SoundFile(name, "w", rate, n_channels, subtype, format=kind) as file:
            yield file
            n_samples = file.frames
        with soundfile.SoundFile(name) as written:
            written.seek(max(0, n_samples - 1))
            is_whole = written.frames == n_samples and len(written.read(1)) == min(1, n_samples)
    except soundfile.LibsndfileError as error:
        raise OSError(errno.EIO, f"it cannot be written ({reason(error)}): is the disk full?", str(path)) from None
    if not is_whole:
        raise OSError(errno.EIO, "it cannot be written to its end: is the disk full?", str(path))


def to_integers(samples: np.ndarray, n_bits: int) -> np.ndarray:
    """Samples rounded to `n_bits` in the upper bits of int32, clipped at full scale. 0 bits: unchanged."""
    if not n_bits:
        return samples
    scale = 2 ** (n_bits - 1)
    rounded = np.clip(np.rint(samples.astype(np.float64) * scale), -scale, scale - 1)
    return rounded.astype(np.int32) << (32 - n_bits)


@contextmanager
def open_sound(raw: BinaryIO | SplicedFile, name: str) -> Iterator[soundfile.SoundFile]:
    """Decode `raw` with libsndfile. Errors: AudioError for what it cannot decode."""
    source: Any = raw
    if not isinstance(raw, SplicedFile):
        # By a descriptor: by name, libsndfile takes some suffixes for headerless audio.
        source = raw.fileno()
        os.lseek(source, 0, os.SEEK_SET)  # raw.seek() moves within its buffer, not the descriptor
    try:
        with soundfile.SoundFile(source, closefd=False) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name} is damaged ({reason(error)}): export it again as WAV or FLAC") from None


def _read_samples(
    file: soundfile.SoundFile, name: str, max_s: float, kept_s: float = MAX_S, kept_values: int = MAX_VALUES
) -> tuple[np.ndarray, int]:
    """The samples that are kept as float32 (n_samples, n_channels), and how many there are in the file."""
    if file.format not in FORMATS or file.subtype not in SUBTYPES:
        raise AudioError(f"{name} is {file.format} {file.subtype}, which is not read here: export it as WAV")
    try:
        rate = check_sample_rate(file.samplerate)
    except AudioError as error:
        raise AudioError(f"{name}: {error}") from None
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise AudioError(f"{name} has {file.channels} channels, at most {MAX_CHANNELS}: mix down to stereo")
    kept = int(min(kept_s * rate, kept_values // file.channels))
    limit = int(min(max_s * rate, MAX_VALUES // file.channels))
    blocks, n_read = [], 0
    while n_read <= limit:
        block = file.read(min(_BLOCK, limit + 1 - n_read), dtype="float32", always_2d=True)
        if not len(block):
            break
        if n_read < kept:
            blocks.append(block[: kept - n_read])
        n_read += len(block)
    if n_read > limit:
        raise AudioError(f"{name} is longer than the limit of {limit / rate:g} s: trim it first")
    if not n_read:
        raise AudioError(f"{name} holds no audio: its header is followed by no samples")
    return np.concatenate(blocks) if blocks else np.empty((0, file.channels), np.float32), n_read


AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")


def audio_files(folder: Path, deep: bool = False, suffixes: Collection[str] = AUDIO_SUFFIXES) -> list[Path]:
    """Audio files of a folder (`deep`: and of all its subfolders), sorted.

    Hidden ones are none: what a killed writer left behind, and the companions `._NAME.wav` that macOS writes. What
    cannot be read stays in the list, for the reader to say so.
    """
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(p for p in found if p.suffix.lower() in suffixes and not p.name.startswith(".") and not p.is_dir())
