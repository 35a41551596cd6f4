"""Reports as plain text."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from melformer.evaluate.codec_part import CodesReport, SystemScores

SHORT_NAMES = {
    "mel_distance": "mel",
    "stft_distance": "STFT",
    "log_spectral_distance_db": "LSD dB",
    "si_sdr_db": "SI-SDR dB",
    "loudness_error_db": "LUFS err",
    "onset_f1": "onset F1",
    "chroma_cosine": "chroma",
    "pitch_error_cents": "cents",
    "harmonicity_error_db": "HNR dB",
}


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns: the first to the left, the others to the right, numbers with three digits or so."""
    cells = [list(header), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        first, *others = (
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def _text(cell: Any) -> str:
    if isinstance(cell, float):
        return "–" if cell != cell else f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.1f}"
    return str(cell)


def systems_table(systems: Mapping[str, SystemScores]) -> str:
    """One system a line, its mean over the clips."""
    rows = [[name, s.kbps, *(getattr(s.mean, key) for key in SHORT_NAMES)] for name, s in systems.items()]
    return table(["system", "kbps", *SHORT_NAMES.values()], rows)


def clips_table(system: SystemScores) -> str:
    """One clip a line."""
    rows = [[c.name, c.bpm, *(getattr(c.scores, key) for key in SHORT_NAMES)] for c in system.clips]
    return table(["clip", "BPM", *SHORT_NAMES.values()], rows)


def codes_table(codes: CodesReport) -> str:
    """One codebook a line: usage, entropy, perplexity, stability."""
    keys = [f.name for f in fields(codes.codebooks[0])]
    rows = [
        [
            i,
            *(getattr(book, key) for key in keys),
            *(codes.stability[change][i] for change in codes.stability),
        ]
        for i, book in enumerate(codes.codebooks)
    ]
    return table(["codebook", *keys, *codes.stability], rows)
