"""The tempo that a file's name gives."""

import re
from pathlib import Path

from melformer.audio.grid import MAX_BPM, MIN_BPM

_NUMBER = r"(?<![\d.,])(\d{2,3}(?:[.,]\d{1,4})?)"
_STATED = re.compile(rf"{_NUMBER}[\s_-]*b\.?p\.?m(?![a-z])|(?<![a-z])b\.?p\.?m[\s_=-]*{_NUMBER}(?!\d)", re.IGNORECASE)
_DATE = re.compile(r"(?<!\d)(\d{4}[-_. ]\d{1,2}[-_. ]\d{1,2}|\d{1,2}[-_. ]\d{1,2}[-_. ](\d{4}|\d{2}))(?!\d)")
_WORD = re.compile(r"[^\s_()\[\]{}+&@,;~-]+")
_BARE = re.compile(r"\d{2,3}(?:\.\d{1,4})?")
# Numbers people put in loop names, between 60 and 200, that count something else.
_COUNTED_BEFORE = {
    "take", "tk", "version", "ver", "v", "no", "nr", "num", "number", "track", "part", "pt", "mix",
    "scene", "clip", "bar", "bars", "beat", "beats", "bounce", "export", "render", "seed", "key",
    "preset", "patch", "program", "sample", "volume", "vol", "pack", "sh", "juno", "jupiter", "tr",
    "tb", "mc", "cr", "dx", "mpc", "sp", "op", "ms",
}  # fmt: skip
_COUNTED_AFTER = {
    "bit", "bits", "hz", "khz", "k", "kbps", "s", "sec", "secs", "seconds", "ms", "min", "db", "bar",
    "bars", "beat", "beats", "samples", "steps", "st", "nd", "rd", "th", "percent",
}  # fmt: skip
MIN_BARE, MAX_BARE = 60.0, 200.0


def bpm_in_name(path: str | Path) -> tuple[float, bool] | None:
    """The BPM in a file's name, and whether the name says that it is one; None when there is none.

    `120bpm`, `92.5 BPM` and `bpm_120` say so. A bare number between 60 and 200 that stands alone, as in
    `hats_130.wav`, is taken when it is the only one; years, take numbers, rates and bit depths are not.

    >>> bpm_in_name("loop 92.5 BPM.wav"), bpm_in_name("hats_130.wav"), bpm_in_name("take 130 (2019).wav")
    ((92.5, True), (130.0, False), None)
    """
    name = re.sub(r"(?i)\.(wav|wave|flac|ogg|oga|opus|mp3|aiff?|aifc|tiaf)$", "", Path(path).name)
    stated = {float((before or after).replace(",", ".")) for before, after in _STATED.findall(name)}
    if stated:
        stated = {bpm for bpm in stated if MIN_BPM <= bpm <= MAX_BPM}
        return (stated.pop(), True) if len(stated) == 1 else None
    words = _WORD.findall(_DATE.sub(" ", name))
    bare = {float(word) for index, word in enumerate(words) if _is_tempo(words, index)}
    return (bare.pop(), False) if len(bare) == 1 else None


def _is_tempo(words: list[str], index: int) -> bool:
    word = words[index]
    if not _BARE.fullmatch(word) or word.startswith("0") or not MIN_BARE <= float(word) <= MAX_BARE:
        return False
    before = words[index - 1].lower().rstrip(".") if index else ""
    after = words[index + 1].lower().rstrip(".") if index + 1 < len(words) else ""
    return before not in _COUNTED_BEFORE and after not in _COUNTED_AFTER
