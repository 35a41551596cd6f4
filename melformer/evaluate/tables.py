"""Reports as plain text."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from melformer.evaluate.bootstrap import Interval
from melformer.evaluate.codec_scores import CodesReport, SystemScores
from melformer.evaluate.protocol import LOOPED
from melformer.evaluate.summary import MANNERS, ContinuationSystem

if TYPE_CHECKING:
    from melformer.evaluate.transformer_scores import TransformerReport

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
    "visqol": "ViSQOL",
}

CONTINUATION_NAMES = {
    "onset_grid_f1": "grid F1",
    "groove_similarity": "groove",
    "chroma_cosine": "chroma",
    "key_agreement": "key",
    "loudness_drift_db": "LUFS drift",
    "centroid_drift_octaves": "centroid oct",
    "silent_share": "silent",
    "stuck_share": "stuck",
    "novelty": "novel",
    "grid_error_ms": "grid ms",
    "grid_error_p95_ms": "p95 ms",
    "tempo_error_percent": "tempo %",
    "length_error_ms": "length ms",
    "seam_click": "seam click",
    "seam_jump": "jump",
}
TRUTH_NAMES = {
    "log10_mel_distance": "log10 mel",
    "mel_distance": "mel",
    "stft_distance": "STFT",
    "chroma_cosine_true": "chroma",
    "onset_f1_true": "onset F1",
    "loudness_error_db": "LUFS err",
    "stereo_level_error_db": "L/R dB",
    "stereo_correlation_error": "L/R corr",
    "self_similarity": "self-sim",
}

RIVALS = {"beats loop": LOOPED, "beats decoder": "true codes, decoder alone"}


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


def _share(value: float) -> str:
    return "–" if value != value else f"{value:.1%}"


def systems_table(systems: Mapping[str, SystemScores]) -> str:
    """One system a line, its mean over the clips."""
    rows = [[name, s.kbps, *(getattr(s.mean, key) for key in SHORT_NAMES)] for name, s in systems.items()]
    return table(["system", "kbps", *SHORT_NAMES.values()], rows)


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


def new_beats_table(systems: Mapping[str, ContinuationSystem]) -> str:
    """One system a line: what is new, and how near it is to the truth for an independent listener (5 to 95%)."""
    rows = []
    for name, s in systems.items():
        row: list[Any] = [name, _range(s.beats.new_share, percent=True), _range(s.beats.loop_again, percent=True)]
        row += [s.beats.floor_rise_db, s.beats.level_jump_db]
        if s.embedding:
            row += [_range(s.embedding.frechet), _range(s.embedding.over_rules), _range(s.embedding.cosine)]
            row += [_range(s.embedding.cosine_over_looped)]
        rows.append(row + ["–"] * (9 - len(row)))
    header = ["system", "new", "loop again", "floor dB", "jump dB", "Fréchet, x looped", "over rules"]
    return table([*header, "cosine", "over looped"], rows)


def _range(interval: Interval | None, percent: bool = False) -> str:
    """A figure and its interval; shares in percent."""
    if interval is None or interval.value != interval.value:
        return "–"
    values = (interval.value, interval.low, interval.high)
    middle, low, high = (f"{100 * v:.0f}" if percent else f"{v:.3f}" for v in values)
    return f"{middle}% ({low}–{high})" if percent else f"{middle} ({low} to {high})"


def continuation_table(systems: Mapping[str, ContinuationSystem]) -> str:
    """One system a line, against the prompt."""
    rows = [[name, *(getattr(s.mean, key) for key in CONTINUATION_NAMES)] for name, s in systems.items()]
    return table(["system", *CONTINUATION_NAMES.values()], rows)


def truth_table(systems: Mapping[str, ContinuationSystem]) -> str:
    """One system a line, against the truth: distances, share copied, how often closer than looping and the decoder."""
    rows = [
        [
            name,
            *(getattr(s.mean_truth, key) for key in TRUTH_NAMES),
            s.copied_share,
            *(s.closer_than.get(other, float("nan")) for other in RIVALS.values()),
        ]
        for name, s in systems.items()
    ]
    return table(["system", *TRUTH_NAMES.values(), "copied", *RIVALS], rows)


def manner_table(systems: Mapping[str, ContinuationSystem]) -> str:
    """One system a line: how far groove, chroma and drift are from the truth's, and how often nearer than looping."""
    names = [CONTINUATION_NAMES[name] for name in MANNERS]
    rows = [
        [system, *(s.manner[name] for name in MANNERS), *(_share(s.manner_nearer[name]) for name in MANNERS)]
        for system, s in systems.items()
    ]
    return table(["system", *(f"{name} off" for name in names), *(f"{name} beats loop" for name in names)], rows)


def transformer_table(report: "TransformerReport") -> str:
    """One predictor a line, then top-1 accuracy."""
    rows = [[name, bits.all, bits.repeating, bits.new] for name, bits in report.bits.items()]
    lines = [
        table(["predictor", "all", "repeating", "new"], rows),
        f"{report.n_beats} beats, {report.repeating_share:.1%} repeat an earlier one exactly; "
        f"on new beats {report.saved_share:.1%} fewer bits than the best baseline.",
        f"Likeliest code right: {_share(report.top1_repeating)} on repeating beats, {_share(report.top1_new)} on new "
        "ones; per codebook " + " ".join(f"{share:.1%}" for share in report.top1_per_codebook),
    ]
    if report.top1_round:
        times = " and ".join(f"{share:.1%}" for share in report.top1_round)
        lines.append(f"Of two bars played round: {times} the second and third time.")
    return "\n".join(lines)
