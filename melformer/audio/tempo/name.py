"""The tempi that a file's name may give."""

import re
from dataclasses import dataclass
from pathlib import Path

from melformer.audio.grid import MAX_BPM, MIN_BPM

_NUMBER = r"\d{2,3}(?:[.,]\d{1,4})?"
_MARK = re.compile(r"(?<![a-z])b\.?p\.?m(?![a-z])", re.IGNORECASE)
_BEFORE = re.compile(rf"(?<![\d.,])({_NUMBER})(?:\s?(?:-|to|–)\s?({_NUMBER}))?([\s_-]*)$")
_AFTER = re.compile(rf"([\s_=:-]*)({_NUMBER})(?!\d)")
_DATE = re.compile(r"(?<!\d)(\d{4}[-_. ]\d{1,2}[-_. ]\d{1,2}|\d{1,2}[-_. ]\d{1,2}[-_. ](\d{4}|\d{2}))(?!\d)")
_WORD = re.compile(r"[^\s_()\[\]{}+&@,;~-]+")
_BARE = re.compile(r"0?\d{2,3}(?:\.\d{1,4})?")
# Numbers people put in loop names, between 60 and 200, that count something else.
_COUNTED_BEFORE = {
    "take", "tk", "version", "ver", "v", "no", "nr", "num", "number", "track", "part", "mix",
    "scene", "clip", "bar", "bars", "beats", "bounce", "export", "render", "seed", "key",
    "preset", "patch", "program", "sample", "volume", "vol", "pack", "sh", "juno", "jupiter", "tr",
    "tb", "mc", "cr", "dx", "mpc", "sp", "op", "ms",
}  # fmt: skip
_COUNTED_AFTER = {
    "bit", "bits", "hz", "khz", "k", "kbps", "s", "sec", "secs", "seconds", "ms", "min", "db", "bar",
    "bars", "beat", "beats", "samples", "steps", "st", "nd", "rd", "th", "percent",
}  # fmt: skip
MIN_BARE, MAX_BARE = 60.0, 200.0


@dataclass(frozen=True)
class NamedTempo:
    """The tempi that a name may mean, the likeliest first, and whether it says that they are tempi."""

    bpms: tuple[float, ...]
    is_stated: bool


def bpm_in_name(path: str | Path) -> NamedTempo | None:
    """The BPM in a file's name; None when there is none.

    `120bpm`, `92.5 BPM` and `bpm_120` say so; where numbers stand on both sides of the word, the one that is written
    together with it counts, else the one behind it, and the other stays possible. `85-170bpm` may mean either. A bare
    number between 60 and 200 that stands alone, as in `hats_130.wav` or `090 Swing.wav`, is taken when it is the only
    one; years, take numbers, rates and bit depths are not.

    >>> bpm_in_name("loop 92.5 BPM.wav"), bpm_in_name("take 130 (2019).wav")
    (NamedTempo(bpms=(92.5,), is_stated=True), None)
    >>> bpm_in_name("Synth_45_BPM_120.wav").bpms, bpm_in_name("hats_130.wav").is_stated
    ((120.0, 45.0), False)
    """
    name = re.sub(r"(?i)\.(wav|wave|flac|ogg|oga|opus|mp3|aiff?|aifc|tiaf)$", "", Path(path).name)
    if stated := _stated(name):
        possible = tuple(bpm for bpm in dict.fromkeys(stated) if MIN_BPM <= bpm <= MAX_BPM)
        return NamedTempo(possible, True) if possible else None
    words = _WORD.findall(_DATE.sub(" ", name))
    bare = {float(word) for index, word in enumerate(words) if _is_tempo(words, index)}
    return NamedTempo((bare.pop(),), False) if len(bare) == 1 else None


def _stated(name: str) -> list[float]:
    """Numbers beside each "bpm", the likeliest first."""
    found: list[float] = []
    for mark in _MARK.finditer(name):
        before, after = _BEFORE.search(name[: mark.start()]), _AFTER.match(name[mark.end() :])
        left = [_value(number) for number in before.group(1, 2) if number] if before else []
        right = [_value(after[2])] if after else []
        glued = before is not None and not before[3] and not (after is not None and not after[1])
        found += left + right if glued or not right else right + left
    return found


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def _is_tempo(words: list[str], index: int) -> bool:
    word = words[index]
    if not _BARE.fullmatch(word) or not MIN_BARE <= float(word) <= MAX_BARE:
        return False
    if word.startswith("0") and index:  # `loop_064` counts; `090 Swing` begins with its tempo, as sample packs do
        return False
    before = words[index - 1].lower().rstrip(".") if index else ""
    after = words[index + 1].lower().rstrip(".") if index + 1 < len(words) else ""
    return before not in _COUNTED_BEFORE and after not in _COUNTED_AFTER
