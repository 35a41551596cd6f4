"""What a style is; the styles themselves are tables in `styles_*.py`."""

from dataclasses import dataclass, field

Patterns = tuple[str, ...]


@dataclass(frozen=True)
class Style:
    """How one kind of music goes: tempo, groove, harmony, instruments and how they are mixed.

    `drums` maps a drum to bars to choose from (an empty bar leaves it out). `swing` is drawn between two values
    (0 straight, 1 triplet) on steps of `swing_step` beats; `human_ms` spreads the timing. Each role's chance says
    how often it plays at all. `metres` maps metre to weight.
    """

    name: str
    bpm: tuple[float, float]
    kits: tuple[str, ...]
    drums: dict[str, Patterns]
    bass: Patterns
    bass_sounds: tuple[str, ...]
    modes: tuple[str, ...]
    progressions: tuple[str, ...]
    comp: Patterns
    comp_sounds: tuple[str, ...]
    lead_sounds: tuple[str, ...]
    arp_sounds: tuple[str, ...] = ("synth pluck",)
    pad_sounds: tuple[str, ...] = ("warm pad",)
    chances: dict[str, float] = field(default_factory=dict)
    fills: tuple[dict[str, str], ...] = ()
    swing: tuple[float, float] = (0.0, 0.0)
    swing_step: float = 0.25
    human_ms: float = 0.0
    metres: dict[str, float] = field(default_factory=lambda: {"4/4": 1.0})
    bars_per_chord: tuple[float, ...] = (1.0,)
    duck: tuple[float, float] = (0.0, 0.0)
    reverb: tuple[float, float] = (0.05, 0.25)
    room_s: tuple[float, float] = (0.6, 1.8)
    drive: tuple[float, float] = (0.0, 0.15)
    rms_db: tuple[float, float] = (-18.0, -11.0)
    note_beats: tuple[float, ...] = (0.5, 0.5, 1.0, 0.25)
    lofi: float = 0.0
