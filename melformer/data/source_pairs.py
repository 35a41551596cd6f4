"""A loop cut in two for the scorer of sources: prompt and true continuation, and how both sound, band by band."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from melformer.audio.grid import BeatGrid
from melformer.audio.resample import resample
from melformer.audio.tempo import Tempo
from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.codec.source_scorer import TONE_VIEW, VIEWS, view_levels
from melformer.data.beat_dataset import TrainingClip, clip_name, find_clips, load_clip
from melformer.errors import AudioError, RequestError, TempoError, TiafError
from melformer.files import write_arrays
from melformer.generate.prompt import Prompt, encode_beats
from melformer.render.prompt_decoder import PromptDecoder

LOOP_BEATS = 16
PROMPT_BEATS = (4, 8, 8, 12, 16, 16, 16, 16, 24, 32)
MOST_NEW_BEATS = 16


@dataclass(frozen=True)
class Sound:
    """Log10 mel levels of latent frames in each view: (n, per_frame, n_bands, per_band)."""

    views: list[Tensor]

    def levels(self) -> Tensor:
        """Means by frame and band over VIEWS: (n, n_bands)."""
        return torch.stack([view.float().mean(dim=(1, 3)) for view in self.views[: len(VIEWS)]]).mean(dim=0)

    def beat(self, index: int, n_frames: int) -> "Sound":
        """One beat of it."""
        return Sound([view[index * n_frames : (index + 1) * n_frames] for view in self.views])

    def distance(self, other: "Sound", n_frames: int) -> Tensor:
        """Mean absolute differences (n_beats, n_frames, n_bands); `other` has as many beats, or one for all."""
        parts = []
        for a, b in zip(self.views, other.views):
            ours, theirs = (view.float().unflatten(0, (-1, n_frames)) for view in (a, b))
            parts.append((ours - theirs).abs().mean(dim=(2, 4)))
        return torch.stack(parts).mean(dim=0)


@dataclass(frozen=True)
class Pair:
    """Codes int64 (n_beats, frames, n_codebooks) of a prompt and of what follows; how the prompt, what follows and
    the decoder's version of it sound."""

    prompt_codes: Tensor
    codes: Tensor
    prompt: Sound
    truth: Sound
    decoded: Sound

    @property
    def n_bands(self) -> int:
        """Bands of the sounds."""
        return self.prompt.views[0].shape[2]

    def save(self, path: Path) -> None:
        """Write one `.npz`, whole or not at all. Errors: OSError."""
        arrays = {"prompt_codes": self.prompt_codes.numpy(), "codes": self.codes.numpy()}
        for name in ("prompt", "truth", "decoded"):
            views = getattr(self, name).views
            arrays |= {f"{name}.{i}": view.half().numpy() for i, view in enumerate(views)}
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> "Pair":
        """Read what `save` wrote. Errors: OSError, KeyError for another file."""
        with np.load(path) as arrays:
            tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        sounds = {
            name: Sound([tensors[key] for key in sorted(tensors) if key.startswith(f"{name}.")])
            for name in ("prompt", "truth", "decoded")
        }
        return cls(tensors["prompt_codes"], tensors["codes"], **sounds)


def make_pair(codec: Codec, waveform: Waveform, bpm: float, other: Waveform, rng: np.random.Generator) -> Pair:
    """Cut a loop of 16 beats or more at random; two of three continuations lose their perfection, some to `other`."""
    grid, work = BeatGrid(bpm, waveform.sample_rate), codec.config.samples_per_beat
    n_beats = round(grid.beats_in(waveform.n_samples))
    n_prompt = int(rng.choice(PROMPT_BEATS))
    n_prompt = n_prompt if n_prompt <= n_beats - 4 else n_beats // 2
    n_new = min(MOST_NEW_BEATS, n_beats - n_prompt)
    first = 4 * int(rng.integers(0, (n_beats - n_prompt - n_new) // 4 + 1))
    edges = grid.edges(n_beats)
    start, middle, end = (int(edges[first + n]) for n in (0, n_prompt, n_prompt + n_new))
    before, truth = waveform.slice(start, middle), waveform.slice(middle, min(end, waveform.n_samples))
    if rng.random() < 0.65:
        truth = roughened(truth, other if rng.random() < 0.5 else None, rng)
    beats = [grid.model_beats(sound, n, work) for sound, n in ((before, n_prompt), (truth, n_new))]
    prompt_codes, codes = (encode_beats(codec, part) for part in beats)
    tempo = Tempo(bpm, "argument", 1.0, 0.0, 1.0)
    prompt = Prompt(before, bpm, tempo, n_prompt, 4, prompt_codes, [], "")
    decoded = _decoded(codec, prompt, torch.from_numpy(codes))
    heard, true = (torch.from_numpy(part).flatten() for part in beats)
    silence = torch.zeros(work)

    def sound(samples: Tensor, lead: Tensor, after: Tensor) -> Sound:
        frames = len(samples) // work * codec.config.latent_frames_per_beat
        return Sound(view_levels(samples, lead, after, frames, codec.scorer.n_bands, work, (*VIEWS, TONE_VIEW)))

    return Pair(
        torch.from_numpy(prompt_codes), torch.from_numpy(codes), sound(heard, heard, heard),
        sound(true, heard, silence), sound(decoded, heard, silence),
    )  # fmt: skip


def cut_loops(codec: Codec, folders: Sequence[Path], n_loops: int, out: Path, seed: int = 0) -> None:
    """Cut up to `n_loops` random loops of some folders in two and write the pairs to `out`; those there are kept.

    Errors: RequestError when no loop is long enough.
    """
    out.mkdir(parents=True, exist_ok=True)
    clips = [(folder, clip) for folder in folders for clip in find_clips(folder)]
    n_found = 0
    for index in tqdm(np.random.default_rng(seed).permutation(len(clips)).tolist(), desc="loops cut in two"):
        if n_found == n_loops:
            break
        path = out / Path(clip_name(*clips[index])).with_suffix(".npz").name
        if not path.exists():
            rng = np.random.default_rng([seed, index])
            pair = _pair_of(codec, clips[index][1], clips[int(rng.integers(len(clips)))][1], rng)
            if pair is None:
                continue
            pair.save(path)
        n_found += 1
    if not n_found:
        names = ", ".join(str(folder) for folder in folders)
        raise RequestError(f"{names}: no loop has {LOOP_BEATS} beats or more to be cut in two; give longer ones.")


def read_pairs(folder: Path) -> list[Pair]:
    """What `cut_loops` wrote, in the order of the names."""
    return [Pair.load(path) for path in sorted(folder.glob("*.npz"))]


def _pair_of(codec: Codec, clip: TrainingClip, other: TrainingClip, rng: np.random.Generator) -> Pair | None:
    """None where a loop is too short, or either cannot be read: it teaches nothing."""
    try:
        waveform, bpm = load_clip(clip)
        if BeatGrid(bpm, waveform.sample_rate).beats_in(waveform.n_samples) < LOOP_BEATS - 0.25:
            return None
        return make_pair(codec, waveform, bpm, load_clip(other)[0], rng)
    except (AudioError, TempoError, TiafError) as error:
        tqdm.write(f"left out: {error}")
        return None


@torch.inference_mode()
def _decoded(codec: Codec, prompt: Prompt, codes: Tensor) -> Tensor:
    """What the decoder makes of new codes, at the prompt's level and colour, mono on the beat grid."""
    begun, decoder = PromptDecoder(codec, prompt), codec.decoder
    around = torch.cat([codes, codes[-1:]])  # its sound is late
    spectra, _ = decoder.spectra(codec.quantizer.decode(around.flatten(0, 1)[None]), begun.state)
    segments = decoder.stft.segments(spectra * begun.gains.abs().mean(dim=0))
    samples, _ = decoder.stft.overlap_add(segments, begun.state.carry.mean(dim=0, keepdim=True))
    return samples[0, decoder.delay_samples :][: len(codes) * decoder.stft.samples_per_beat].clone()


def roughened(waveform: Waveform, other: Waveform | None, rng: np.random.Generator) -> Waveform:
    """Music that is played again is never quite the same: gain, drift of a few milliseconds, noise, tone, and a
    stretch with another loop in it."""
    samples, n = waveform.samples.copy(), waveform.n_samples
    if rng.random() < 0.5:
        decibels = rng.normal(0.0, 2.0) + rng.normal(0.0, 1.5) * np.linspace(-1.0, 1.0, n)
        samples *= (10.0 ** (decibels / 20.0))[:, None].astype(np.float32)
    if rng.random() < 0.5:
        late = np.interp(np.arange(n), np.linspace(0, n - 1, 6), rng.normal(0.0, 0.002 * waveform.sample_rate, 6))
        places = np.clip(np.arange(n) + late, 0, n - 1)
        samples = np.stack([np.interp(places, np.arange(n), channel) for channel in samples.T], axis=1)
    if rng.random() < 0.4:
        level = np.sqrt((samples**2).mean()) * 10.0 ** (rng.uniform(-50.0, -20.0) / 20.0)
        samples = samples + rng.standard_normal(samples.shape) * level
    if rng.random() < 0.4:
        samples = samples + rng.uniform(-0.4, 0.4) * np.concatenate([np.zeros_like(samples[:1]), samples[:-1]])
    if other is not None and rng.random() < 0.7:
        sound = resample(other.mono(), waveform.sample_rate).samples
        sound = np.resize(sound, (n, 1)) * np.sqrt((samples**2).mean() / max(float((sound**2).mean()), 1e-9))
        start, stop = int(rng.integers(0, n // 2)), int(rng.integers(n // 2, n))
        samples[start:stop] += 10.0 ** (rng.uniform(-18.0, -3.0) / 20.0) * sound[start:stop]
    return Waveform(np.clip(samples, -1.0, 1.0).astype(np.float32), waveform.sample_rate)
