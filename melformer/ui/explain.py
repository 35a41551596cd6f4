"""For the curious: a loop through few or many codebooks, seen and heard, and with its tokens rewritten."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from melformer.audio.io import Waveform
from melformer.errors import RequestError
from melformer.ui.session.requests import whole_number
from melformer.ui.takes.loops import PromptLoop
from melformer.ui.wire import code_columns, text, write_pcm16

N_FFT = 2048
N_ROWS = 96
MAX_COLUMNS = 600
FLOOR_DB = 70.0
LOW_HZ = 40.0
DECODED = "decoded-"


def spectrum(waveform: Waveform) -> dict[str, Any]:
    """Loudness over time and pitch, 0..255 from FLOOR_DB under the loudest; rows from high to low."""
    samples = waveform.mono().samples[:, 0]
    padded = np.pad(samples, (N_FFT // 2, N_FFT // 2))
    n_columns = min(MAX_COLUMNS, max(1, len(samples) // 256))
    starts = np.linspace(0, len(padded) - N_FFT, n_columns).astype(int)
    frames = padded[starts[:, None] + np.arange(N_FFT)] * np.hanning(N_FFT)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges_hz = np.geomspace(LOW_HZ, min(16_000, waveform.sample_rate / 2), N_ROWS + 1)
    bins = np.clip((edges_hz * N_FFT / waveform.sample_rate).astype(int), 0, N_FFT // 2)
    rows = np.stack([power[:, a : max(a + 1, b)].mean(axis=1) for a, b in pairwise(bins)])
    level_db = 10 * np.log10(rows / max(rows.max(), 1e-12) + 1e-12)
    levels = np.clip(255 * (1 + level_db / FLOOR_DB), 0, 255).astype(np.uint8)[::-1]
    return {"rows": N_ROWS, "columns": n_columns, "data": text(levels)}


def codebook_usage(codes: np.ndarray) -> list[dict[str, int]]:
    """For each codebook, how many different tokens a loop uses, of how many columns."""
    columns = code_columns(codes)
    return [{"distinct": len(np.unique(one)), "columns": len(columns)} for one in columns.T]


def decode_with(model: Any, loop: PromptLoop, folder: Path, n_codebooks: Any) -> dict[str, Any]:
    """The loop, written down with `n_codebooks` codebooks and played back. Errors: RequestError."""
    most = loop.prompt.codes.shape[-1]
    n_codebooks = whole_number(n_codebooks, "The number of codebooks", 1, most)
    decoded = model.reconstruct(loop.prompt.waveform, loop.prompt.bpm, n_codebooks=n_codebooks)
    words = f"Decoded with {n_codebooks} of {most} codebooks"
    return _packed(decoded, loop, folder, words)


def decode_rewritten(model: Any, loop: PromptLoop, folder: Path, order: Any) -> dict[str, Any]:
    """The loop with beat `order[k]["from"]` at place k, reversed in time where asked. Errors: RequestError."""
    n_beats = loop.prompt.n_beats
    if not isinstance(order, list) or len(order) != n_beats or not all(isinstance(item, dict) for item in order):
        raise RequestError(f"A rewritten loop is a list of {n_beats} of its beats.")
    codes = np.asarray(loop.prompt.codes)
    if codes.shape[0] % n_beats:
        raise RequestError("At this tempo two beats share their tokens. Halve the BPM to rewrite them.")
    per_beat = codes.shape[0] // n_beats
    rewritten = codes.copy()
    for k, item in enumerate(order):
        source = whole_number(item.get("from"), "A beat", 0, n_beats - 1)
        beat = codes[source * per_beat : (source + 1) * per_beat]
        rewritten[k * per_beat : (k + 1) * per_beat] = beat[::-1, ::-1] if item.get("reversed") else beat
    return _packed(model.decode_codes(loop.prompt, rewritten), loop, folder, "Decoded with the rewritten tokens")


def _packed(decoded: Waveform, loop: PromptLoop, folder: Path, words: str) -> dict[str, Any]:
    prompt = loop.prompt.waveform
    samples = np.zeros((prompt.n_samples, prompt.n_channels), np.float32)
    n = min(prompt.n_samples, decoded.n_samples)
    samples[:n] = decoded.samples[:n]
    picture = spectrum(Waveform(samples, prompt.sample_rate))
    for path in folder.glob(f"{DECODED}*"):
        path.unlink(missing_ok=True)
    path = write_pcm16(folder / f"{DECODED}{uuid4().hex}.pcm", samples)
    return {"pcm_path": str(path), "spectrum": picture, "words": words}
