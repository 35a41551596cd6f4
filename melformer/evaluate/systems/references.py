"""Reference points that need no training, so that a reader knows what a number means."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from melformer.audio.grid import BeatGrid
from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import RequestError
from melformer.evaluate.systems.rules import arrange_beats

OPUS_KBPS = (6, 12, 24)
MP3_KBPS = 32  # the least that MPEG-1 layer III has


@dataclass(frozen=True)
class Lossy:
    """A clip after a trip through a codec, and the rate that was really used."""

    waveform: Waveform
    kbps: float


def opus(waveform: Waveform, kbps: float) -> Lossy:
    """The clip's mono mix through Opus at 48 kHz by libsndfile, mono, at the clip's own rate and length.

    libsndfile's compression level runs from 0 (256 kbps a channel) to 1 (6 kbps) in a straight line, and Opus
    keeps to it within 7%. Errors: RequestError outside 6 to 256 kbps.
    """
    if not 6 <= kbps <= 256:
        raise RequestError(f"Opus takes 6 to 256 kbps a channel here, got {kbps:g}")
    return _round_trip(waveform, 48_000, format="OGG", subtype="OPUS", compression_level=1.0 - (kbps - 6) / 250.0)


def mp3(waveform: Waveform) -> Lossy:
    """The clip's mono mix through MP3 at a constant 32 kbps (LAME), at the clip's rate and length."""
    return _round_trip(
        waveform,
        44_100,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=0.999,  # 1.0 is refused
    )


def _round_trip(waveform: Waveform, sample_rate: int, **settings: Any) -> Lossy:
    """Encode the clip three times in a row and keep the middle, as a loop plays: no start-up, no cut tail."""
    clip = resample(waveform.mono(), sample_rate)
    with tempfile.TemporaryDirectory() as folder:  # in memory, soundfile writes by callbacks, which swallow a Ctrl-C
        path = Path(folder) / "sound"
        soundfile.write(path, np.tile(clip.samples, (3, 1)), sample_rate, **settings)
        n_bytes = path.stat().st_size
        decoded = soundfile.read(path, dtype="float32", always_2d=True)[0]
    start = clip.n_samples + _delay(clip.samples[:, 0], decoded[clip.n_samples :, 0])
    middle = resample(Waveform(decoded[start : start + clip.n_samples], sample_rate), waveform.sample_rate)
    samples = np.zeros((waveform.n_samples, 1), np.float32)
    n_samples = min(len(samples), middle.n_samples)
    samples[:n_samples] = middle.samples[:n_samples]
    return Lossy(Waveform(samples, waveform.sample_rate), n_bytes * 8 / (3 * clip.n_samples / sample_rate) / 1000)


def _delay(clip: np.ndarray, decoded: np.ndarray, limit: int = 4_000) -> int:
    """By how many samples a decoder is late, 0 to `limit`: MP3 without a gapless tag is, by 1105."""
    n_fft = 1 << int(np.ceil(np.log2(len(clip) + len(decoded))))
    spectra = np.fft.rfft(clip, n_fft).conj() * np.fft.rfft(decoded, n_fft)
    late = int(np.argmax(np.fft.irfft(spectra, n_fft)[:limit]))
    return late if late > 10 else 0  # a few samples are the codec's phase, not its delay


def looped(prompt: Waveform, bpm: float, n_beats: int) -> Waveform:
    """`n_beats` of "just loop the prompt": a prompt of whole beats, repeated on the beat grid."""
    n_prompt = max(1, round(BeatGrid(bpm, prompt.sample_rate).beats_in(prompt.n_samples)))
    edges = BeatGrid(bpm, prompt.sample_rate).edges(n_prompt + n_beats)
    start = edges[n_prompt]
    out = np.zeros((edges[-1] - start, prompt.n_channels), np.float32)
    for first in range(n_prompt, n_prompt + n_beats, n_prompt):
        room = out[edges[first] - start :]
        n_samples = min(len(room), prompt.n_samples)
        room[:n_samples] = prompt.samples[:n_samples]
    return Waveform(out, prompt.sample_rate)


def shuffled(clip: Waveform, bpm: float, n_beats: int, seed: int = 0) -> Waveform:
    """The clip's beats in random order, on the grid: right sounds, wrong sequence."""
    edges = BeatGrid(bpm, clip.sample_rate).edges(n_beats)
    order = np.random.default_rng(seed).permutation(n_beats)
    out = np.zeros((edges[-1], clip.n_channels), np.float32)
    for place, beat in enumerate(order):
        sound = clip.samples[edges[beat] : edges[beat + 1]]
        room = out[edges[place] : edges[place + 1]]
        n_samples = min(len(room), len(sound))
        room[:n_samples] = sound[:n_samples]
    return Waveform(out, clip.sample_rate)


def bars_reordered(prompt: Waveform, bpm: float, n_prompt: int, n_beats: int, beats_per_bar: int = 4) -> Waveform:
    """The prompt's bars, the second half first: each in its own order, none in its place."""
    bar = min(beats_per_bar, n_prompt)
    bars = np.roll(np.arange(n_prompt // bar), n_prompt // bar // 2)[::-1]
    beats = (bars[:, None] * bar + np.arange(bar)).ravel()
    sources = beats[np.arange(n_beats) % len(beats)]
    return Waveform(arrange_beats(prompt.samples, sources, bpm, n_prompt, prompt.sample_rate), prompt.sample_rate)


def white_noise(like: Waveform, seed: int = 0) -> Waveform:
    """White noise of a clip's length, channels and RMS level."""
    rms = float(np.sqrt(np.square(like.samples, dtype=np.float64).mean()))
    noise = np.random.default_rng(seed).standard_normal(like.samples.shape) * rms
    return Waveform(noise.astype(np.float32), like.sample_rate)


def codec_references() -> dict[str, Callable[[Waveform], Lossy]]:
    """What a codec is measured beside: {name: clip → its lossy copy}."""
    return {
        **{f"Opus {kbps} kbps": partial(opus, kbps=kbps) for kbps in OPUS_KBPS},
        f"MP3 {MP3_KBPS} kbps": mp3,
        "white noise": lambda clip: Lossy(white_noise(clip), float("nan")),
    }
