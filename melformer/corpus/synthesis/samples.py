"""The CC0 one-shots of Debian's sonic-pi-samples, read only by an explicit list of allowed families."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from melformer.corpus.synthesis.wavetable import Floats

FOLDERS = ("/usr/share/sonic-pi/samples", "/usr/local/share/sonic-pi/samples")
SOURCE = {"name": "Debian sonic-pi-samples (freesound.org one-shots)", "licence": "CC0-1.0"}
# An allow-list, not a block-list: recorded loops (loop_*, ambi_*, arovane_beat_*, tbd_fxbed_loop*) are the
# evaluation set, and a file that nobody thought of must stay unread.
FAMILIES = (
    "bd_", "sn_", "drum_", "elec_", "perc_", "tabla_", "hat_", "ride_", "glitch_perc", "mehackit_phone",
    "mehackit_robot",
)  # fmt: skip


def folder() -> Path | None:
    """Where Debian's package puts the one-shots; None when there are none."""
    return next((Path(name) for name in FOLDERS if Path(name).is_dir()), None)


def names() -> list[str]:
    """Sorted names of the one-shots that may be used."""
    place = folder()
    return list(_listed(place)) if place else []


@lru_cache(maxsize=4)
def _listed(place: Path) -> tuple[str, ...]:
    return tuple(sorted(p.stem for p in place.glob("*.flac") if allowed(p.stem)))


def allowed(name: str) -> bool:
    """Whether a sample belongs to an allowed family of one-shots."""
    plain = not any(mark in name for mark in "/\\.")
    return plain and name.startswith(FAMILIES) and "loop" not in name and name != "drum_roll"


@lru_cache(maxsize=256)
def load(name: str, sample_rate: int) -> Floats:
    """One one-shot as mono float32 (n,), peak 1, its leading silence cut so that the attack is at sample 0.

    Errors: ValueError for a name outside the allowed families or one that is not installed.
    """
    place = folder()
    if not allowed(name):
        raise ValueError(f"{name!r} is not an allowed one-shot: recorded loops are kept for evaluation")
    if place is None:
        raise ValueError(f"{name!r} is not installed: apt-get install sonic-pi-samples")
    data, rate = soundfile.read(place / f"{name}.flac", dtype="float32", always_2d=True)
    mono = data.mean(axis=1)
    mono = mono[np.argmax(np.abs(mono) > 0.02 * np.abs(mono).max()) :]
    if rate != sample_rate:
        mono = resample_poly(mono, sample_rate, rate).astype(np.float32)
    mono = mono[first_sample(mono, sample_rate) :]
    fade = min(len(mono), 128)
    mono[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return mono / max(1e-6, float(np.abs(mono).max()))


EARLY_S, BEGINS = 0.05, 0.01
"""A sound begins where it first reaches a hundredth of the peak of its first 50 ms: 40 dB below its attack."""


def first_sample(sound: Floats, sample_rate: int) -> int:
    """Index of the sample at which a sound (n,) or (channels, n) begins; 0 for silence."""
    level, start = np.abs(np.atleast_2d(sound)).max(axis=0), 0
    while True:
        early = level[start : start + int(EARLY_S * sample_rate)]
        later = int(np.argmax(early > BEGINS * early.max())) if early.any() else 0
        if not later:
            return start
        start += later  # seen from there, the first 50 ms may be louder
