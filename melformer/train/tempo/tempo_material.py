"""What the beat tracker learns from: passages of the composition engine, cut and spoilt as loops are in the wild.

An example is the mel bands of a clip and its grid, which is known exactly: tempo, one beat, the bar, and from where to
where the music goes. Clips are whole bars or are played round and cut anywhere; they lie in silence, ring out, went
through an MP3, a filter, an amplifier, noise.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from melformer.audio.grid import seconds_per_beat
from melformer.audio.mel import mel_bands
from melformer.audio.tempo.beat_network import METRES
from melformer.audio.waveform import Waveform
from melformer.corpus import compose, render
from melformer.corpus.build import passage_seed
from melformer.corpus.midi import MidiFolder
from melformer.corpus.mixing import effects
from melformer.corpus.passage import Passage
from melformer.corpus.styles.table import STYLES, find_style
from melformer.files import write_arrays

SAMPLE_RATE = 22_050
# Nothing is fitted on the first; the decoder's weights and the confidence are, on the second.
EVALUATION_STYLES = ("balkan brass", "disco", "samba", "electro", "folk dance", "boom bap")
CALIBRATION_STYLES = ("garage", "soul", "salsa", "chip")
_OWN_METRE_SHARE, FEW_SHARE, _WHOLE_BPM_SHARE = 0.6, 0.08, 0.75
_FASTEST_SIX_EIGHT = 115.0  # dotted quarters a minute
_PASSAGES_PER_FILE = 50


@dataclass(frozen=True)
class ClipGrid:
    """Where the beats of a clip are: `beat_s` is one of them that begins a bar, in s from the clip's start.

    `metre` indexes METRES; music goes from `start_s` to `stop_s`, outside is silence or a tail. `octave_known`: the
    tempo is what people would tap, not half or double of it; the tempo in a MIDI file may be either.
    """

    bpm: float
    beat_s: float
    beats_per_bar: int
    metre: int
    start_s: float
    stop_s: float
    octave_known: bool = True


@dataclass(frozen=True)
class TempoExample:
    """A clip and its grid; `whole`: it holds whole bars, with silence or a tail around them or not."""

    waveform: Waveform
    grid: ClipGrid
    whole: bool


def training_styles() -> tuple[str, ...]:
    """Styles that the network learns from."""
    return tuple(name for name in STYLES if name not in EVALUATION_STYLES + CALIBRATION_STYLES)


def draw_passage(seed: int, styles: Sequence[str], rng: np.random.Generator, few: float) -> Passage:
    """A loop of 1 to 8 bars; in four of ten the metre is drawn anew, each as likely, whatever the style's is. A share
    `few` has one or two players."""
    style = styles[int(rng.integers(len(styles)))]
    metre = None if rng.random() < _OWN_METRE_SHARE else METRES[int(rng.integers(len(METRES)))]
    if metre == "6/8" and find_style(style).bpm[0] > _FASTEST_SIX_EIGHT:
        metre = None
    return compose(seed, style, long=0.0, metre=metre, few=bool(rng.random() < few))


def examples(
    seed: int, index: int, styles: Sequence[str], n_each: int, few: float, clean: bool = False
) -> list[TempoExample]:
    """Clips of the n-th passage: so many whole, and so many played round and cut anywhere; `clean`: so many of any
    number of its bars, with neither silence nor a tail, as most loops are."""
    rng = np.random.default_rng([seed, index])
    passage = draw_passage(passage_seed(seed, index), styles, rng, few)
    return _clips(passage, passage.duration_s, rng, n_each, clean, octave_known=True)


def midi_examples(folder: MidiFolder, seed: int, index: int, n_each: int, clean: bool = False) -> list[TempoExample]:
    """Clips of the first bars of a MIDI file's passage, up to eight, three of four at a whole BPM, as loops are; none
    in a metre that the tracker does not know."""
    rng = np.random.default_rng([seed, index])
    passage = folder.passage(index, passage_seed(seed, index))
    if passage.metre not in METRES:
        return []
    if rng.random() < _WHOLE_BPM_SHARE:
        passage = replace(passage, bpm=float(round(passage.bpm)))
    n_bars = min(8 if clean else 2 ** int(rng.integers(4)), passage.n_beats // passage.beats_per_bar)
    stop_s = n_bars * passage.beats_per_bar * seconds_per_beat(passage.bpm)
    return _clips(passage, stop_s, rng, n_each, clean, octave_known=False)


def _clips(
    passage: Passage, stop_s: float, rng: np.random.Generator, n_each: int, clean: bool, octave_known: bool
) -> list[TempoExample]:
    loop = render(passage, SAMPLE_RATE).mono().samples[: round(stop_s * SAMPLE_RATE), 0]
    metre = METRES.index(passage.metre)
    grid = ClipGrid(passage.bpm, 0.0, passage.beats_per_bar, metre, 0.0, stop_s, octave_known)
    makers = (_bars,) if clean else (_whole, _cut)
    return [_spoil(make(loop, grid, rng), rng) for _ in range(n_each) for make in makers]


def _bars(loop: np.ndarray, grid: ClipGrid, rng: np.random.Generator) -> TempoExample:
    """Any number of the loop's bars, and nothing around them."""
    bar_s = seconds_per_beat(grid.bpm) * grid.beats_per_bar
    n_bars = round(grid.stop_s / bar_s)
    kept = int(rng.integers(1, n_bars + 1))
    first = int(rng.integers(n_bars - kept + 1))
    start, stop = (round(bar * bar_s * SAMPLE_RATE) for bar in (first, first + kept))
    return TempoExample(_waveform(loop[start:stop]), replace(grid, stop_s=kept * bar_s), True)


def _whole(loop: np.ndarray, grid: ClipGrid, rng: np.random.Generator) -> TempoExample:
    """The loop's first bars, half of them with silence before and after, and with a tail."""
    bar = seconds_per_beat(grid.bpm) * grid.beats_per_bar
    n_bars = round(grid.stop_s / bar)
    kept = n_bars if rng.random() < 0.6 else int(rng.integers(1, n_bars + 1))
    stop_s = kept * bar
    sound = loop[: round(stop_s * SAMPLE_RATE)]
    before_s = after_s = 0.0
    if rng.random() < 0.5:
        before_s, after_s = (_pause(rng) * (rng.random() < 0.6) for _ in range(2))
        tail = rng.random() < 0.5
        after_s = max(after_s, float(rng.uniform(0.2, 3.0))) if tail else after_s
        pads = [np.zeros(round(s * SAMPLE_RATE), np.float32) for s in (before_s, after_s)]
        sound = np.concatenate([pads[0], sound, pads[1]])
        if tail:
            sound = _ring(sound, rng)
    moved = replace(grid, beat_s=before_s, start_s=before_s, stop_s=before_s + stop_s)
    return TempoExample(_waveform(sound), moved, True)


def _pause(rng: np.random.Generator) -> float:
    """Seconds of silence: as an encoder adds, or as a person leaves."""
    return float(rng.uniform(0.005, 0.06) if rng.random() < 0.4 else rng.uniform(0.06, 4.0))


def _cut(loop: np.ndarray, grid: ClipGrid, rng: np.random.Generator) -> TempoExample:
    """4 to 20 s of the loop played round, from anywhere."""
    length = round(float(rng.uniform(4.0, 20.0)) * SAMPLE_RATE)
    start = int(rng.integers(len(loop)))
    sound = np.tile(loop, -(-(start + length) // len(loop)))[start : start + length]
    bar = seconds_per_beat(grid.bpm) * grid.beats_per_bar
    beat_s = -(start / SAMPLE_RATE) % bar
    return TempoExample(_waveform(sound), replace(grid, beat_s=beat_s, stop_s=length / SAMPLE_RATE), False)


def _waveform(sound: np.ndarray) -> Waveform:
    return Waveform(np.ascontiguousarray(sound, np.float32), SAMPLE_RATE)


def _ring(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    decay, dark = float(rng.uniform(0.3, 3.0)), float(rng.uniform(1500, 9000))
    wet = effects.reverb(sound[None], decay, dark, SAMPLE_RATE, int(rng.integers(2**31)))[0]
    return sound + np.float32(rng.uniform(0.1, 0.8)) * wet


def _spoil(example: TempoExample, rng: np.random.Generator) -> TempoExample:
    """What happens to sound on its way: filters, drive, a room, noise, an MP3; often nothing."""
    sound = example.waveform.samples[:, 0]
    if rng.random() < 0.25:
        kind = ("lowpass", "highpass", "peak")[int(rng.integers(3))]
        hertz = float(
            np.exp(rng.uniform(*np.log({"lowpass": (700, 9000), "highpass": (40, 700), "peak": (150, 5000)}[kind])))
        )
        sound = effects.filtered(sound[None], kind, hertz, SAMPLE_RATE, 0.8, float(rng.uniform(-12, 12)))[0]
    if rng.random() < 0.1:
        sound = np.tanh(sound * float(rng.uniform(1, 12)))
    if not example.whole and rng.random() < 0.15:
        sound = _ring(sound, rng)
    if rng.random() < 0.15:
        level = float(np.sqrt(np.mean(sound**2))) * 10 ** float(rng.uniform(-60, -22) / 20)
        sound = sound + level * rng.standard_normal(len(sound))
    sound = np.asarray(sound, np.float32)
    if rng.random() < 0.2:
        sound = _mp3(sound, float(rng.uniform(0.3, 0.99)))
    return TempoExample(_waveform(sound), example.grid, example.whole)


def _mp3(sound: np.ndarray, compression: float) -> np.ndarray:
    """Through an MP3 and back, cut to its length (the codec's delay is taken out by the decoder)."""
    peak = max(1.0, float(np.abs(sound).max()))
    file = io.BytesIO()
    soundfile.write(
        file, sound / peak, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=compression
    )
    file.seek(0)
    back = soundfile.read(file, dtype="float32")[0] * peak
    return np.pad(back[: len(sound)], (0, max(0, len(sound) - len(back))))


def write_examples(
    folder: Path, seed: int, n_passages: int, make: Callable[[int], list[TempoExample]], sound: bool
) -> None:
    """Write the examples of passages 0, 1, …, a file for every 50; what is there already stays.

    `sound`: the clips themselves, for the decoder, and no mel bands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for start in tqdm(range(0, n_passages, _PASSAGES_PER_FILE), desc=f"{folder.name} {seed}", unit="file"):
        path, stop = folder / f"{seed}_{start:06d}.npz", min(n_passages, start + _PASSAGES_PER_FILE)
        made = [] if path.exists() else [example for i in range(start, stop) for example in make(i)]
        if made:
            save_examples(path, made, sound)


def save_examples(path: Path, made: Sequence[TempoExample], sound: bool) -> None:
    """Grids of examples with their log-magnitudes, or with their samples (int16, full scale the clip's peak)."""
    if sound:
        bands = [_integers(e.waveform.samples[:, 0]) for e in made]
    else:
        bands = [np.log10(mel_bands(e.waveform) + 1e-7).astype(np.float16) for e in made]
    grids = [astuple(e.grid) for e in made]
    lengths = np.array([len(b) for b in bands])
    write_arrays(path, {"bands": np.concatenate(bands), "lengths": lengths, "grids": np.array(grids)})


def _integers(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples * (32_767.0 / max(float(np.abs(samples).max()), 1e-9))).astype(np.int16)


def load_examples(paths: Sequence[Path]) -> Iterator[tuple[np.ndarray, ClipGrid]]:
    """Log-magnitudes (n_frames, 40) or samples, and grid, of every example."""
    for path in paths:
        with np.load(path) as data:
            bands, ends = data["bands"], np.cumsum(data["lengths"])
            for i, (end, row) in enumerate(zip(ends, data["grids"])):
                grid = ClipGrid(row[0], row[1], int(row[2]), int(row[3]), row[4], row[5], bool(row[6]))
                yield bands[end - data["lengths"][i] : end], grid
