"""Codes as sound at the player's own rate: copied from the prompt where they can be, decoded where not."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from melformer.codec.codec import Codec
from melformer.codec.source_scorer import band_levels
from melformer.generate.prompt import Prompt
from melformer.render.band_mixer import BandMixer
from melformer.render.crossfade import crossfade
from melformer.render.prompt_decoder import PromptDecoder
from melformer.render.source_matcher import FOLLOW, GENERATE, WHOLE, SourceMatcher

JOIN_S, FADE_S = 0.030, 0.010


@dataclass(frozen=True)
class Decoded:
    """Decoded sound at the prompt's rate: float32 (n, channels), its first sample at `start` of the whole piece."""

    start: int
    samples: np.ndarray


class Renderer:
    """Codes of the model beats behind a prompt, int64 (n, frames, n_codebooks), as its continuation.

    `lags` (n · frames,) are the sources of latent frames, in model beats backwards (GENERATE: decoded), `bands`
    (n · frames, n_bands) those of bands that have their own. Of n model beats of codes the sound of n − 1 is complete.
    """

    @torch.inference_mode()
    def __init__(self, codec: Codec, prompt: Prompt, codes: Tensor, own_sound: float) -> None:
        self.prompt, self.codes = prompt, codes
        self.frames = codec.config.latent_frames_per_beat
        rate, work = prompt.waveform.sample_rate, codec.config.samples_per_beat
        self.samples_per_model_beat = prompt.grid.samples_per_model_beat
        self.fade = round(FADE_S * rate)
        self.n_join = min(round(JOIN_S * rate), prompt.waveform.n_samples // 2)
        self.rough_seam = _is_rough(prompt.waveform.samples, round(0.003 * rate))
        self.decoder = PromptDecoder(codec, prompt)
        matcher = prompt_matcher(codec, prompt)
        self.mixer = BandMixer(rate, prompt.model_bpm, matcher.n_bands, work)
        latents, state, chosen = codec.quantizer.colours(codes), matcher.begin(), []
        for i, beat in enumerate(codes):
            *found, state = matcher.choose(latents[i].numpy(), beat.numpy(), len(prompt.codes) + i, own_sound, state)
            chosen.append(found)
        self.lags, self.bands = (np.concatenate(parts) for parts in zip(*chosen))

    @cached_property
    def _buffer(self) -> tuple[Tensor, int]:
        """Decoded sound on the codec's grid, and where it begins, counted from the start of the new part."""
        return self.decoder.decode(self.codes)

    def render(self, start: int, stop: int) -> np.ndarray:
        """Samples start … stop of the whole piece (the prompt's first sample is 0): float32 (n, channels)."""
        end, reach = self.prompt.waveform.n_samples, self.fade
        low, high = start, stop
        frames = self.mixer.frames(start - end, stop - end)
        chosen = self._chosen_bands(frames)
        used = np.flatnonzero((chosen >= 0).any(axis=1))
        if len(used):
            frames, chosen = frames[used[0] : used[-1] + 1], chosen[used[0] : used[-1] + 1]
            first, last = (edge + end for edge in self.mixer.span(frames))
            low, high = min(start, first), max(stop, last)
        lags = set(np.unique(chosen[chosen >= 0]).tolist())
        decoded = None
        if GENERATE in lags or any(lag == GENERATE for _, lag in self._runs(low, high)):
            decoded = Decoded(low - reach, self._decoded(low - reach, high + reach))
        out = self._frames_sound(low, high, decoded)
        if lags:
            part = out[first - low : last - low]
            sources = {lag: self._source(lag, first, last, decoded) for lag in lags}
            part += self.mixer.difference(sources, chosen, part)
        return out[start - low : stop - low]

    def _chosen_bands(self, frames: np.ndarray) -> np.ndarray:
        """Sources of the bands in frames of the patches: (n, n_bands), FOLLOW wherever a frame touches a whole beat."""
        half = self.mixer.n_fft // 2
        per_frame = float(self.samples_per_model_beat) / self.frames

        def latent_frame(samples: np.ndarray) -> np.ndarray:
            index = np.floor((samples + 0.5) / per_frame).astype(int)
            return np.clip(index, 0, len(self.bands) - 1)

        centres = frames * self.mixer.hop
        chosen = self.bands[latent_frame(centres)]
        for edge in (-half - 1, half + 1):
            chosen = np.where(self.bands[latent_frame(centres + edge)] == WHOLE, FOLLOW, chosen)
        return chosen

    def _frames_sound(self, start: int, stop: int, decoded: Decoded | None) -> np.ndarray:
        """Samples start … stop with each whole frame from its source: float32 (n, channels)."""
        out = np.empty((stop - start, self.prompt.waveform.n_channels), np.float32)
        runs = self._runs(start, stop)
        for (begin, lag), (end, _) in zip(runs, runs[1:]):
            low, high = max(begin, start), min(end, stop)
            if low < high:
                out[low - start : high - start] = self._source(lag, low, high, decoded)
        fade = self.fade
        for (_, leaving), (boundary, entering) in zip(runs, runs[1:]):
            low, high = max(boundary - fade, start), min(boundary, stop)
            if low < high and leaving != entering and boundary - fade >= self.prompt.waveform.n_samples:
                ends = self._source(leaving, boundary - fade, boundary, decoded)
                mixed = crossfade(ends, self._before(entering, boundary, decoded))
                out[low - start : high - start] = mixed[low - boundary + fade : high - boundary + fade]
        return out

    def _before(self, lag: int, boundary: int, decoded: Decoded | None) -> np.ndarray:
        """What a source sounds like just before it enters: float32 (fade, channels).

        Before the prompt's beginning stands its end, as when the loop plays round; where that would click, the
        beginning itself, turned about its first sample: level and slope then run on.
        """
        prompt = self.prompt.waveform
        begins = (boundary - round(self.samples_per_model_beat * lag)) % prompt.n_samples
        if lag != GENERATE and self.rough_seam and min(begins, prompt.n_samples - begins) <= 1:
            return 2.0 * prompt.samples[:1] - prompt.samples[1 : self.fade + 1][::-1]
        return self._source(lag, boundary - self.fade, boundary, decoded)

    def lead_in(self) -> np.ndarray:
        """What the first new beat's source sounds like in the 30 ms before it: float32 (n, channels)."""
        end = self.prompt.waveform.n_samples
        return self._source(int(self.lags[0]), end - self.n_join, end, None)

    def _runs(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Runs of one source that touch start … stop: (first sample, lag) each, and one more that bounds the last."""
        end = self.prompt.waveform.n_samples
        boundaries = [end + round(self.samples_per_model_beat * i / self.frames) for i in range(len(self.lags) + 1)]
        runs: list[tuple[int, int]] = []
        for boundary, lag in zip(boundaries, self.lags.tolist()):
            if not runs or runs[-1][1] != lag:
                runs.append((boundary, lag))
        runs.append((boundaries[-1], runs[-1][1]))
        ahead = stop + self.fade  # a fade ends where the next run begins
        touching = [i for i in range(len(runs) - 1) if runs[i + 1][0] > start and runs[i][0] <= ahead]
        return runs[touching[0] : touching[-1] + 2]

    def _source(self, lag: int, start: int, stop: int, decoded: Decoded | None) -> np.ndarray:
        """What one source sounds like at samples start … stop: float32 (n, channels); `decoded` may hold them."""
        prompt = self.prompt.waveform
        if lag == GENERATE:
            if decoded is None:
                return self._decoded(start, stop)
            return decoded.samples[start - decoded.start : stop - decoded.start]
        first = (start - round(self.samples_per_model_beat * lag)) % prompt.n_samples
        if first + stop - start <= prompt.n_samples:
            return prompt.samples[first : first + stop - start]
        return prompt.samples[np.arange(first, first + stop - start) % prompt.n_samples]

    def _decoded(self, start: int, stop: int) -> np.ndarray:
        """What the decoder says at samples start … stop: float32 (n, channels)."""
        end = self.prompt.waveform.n_samples
        return self.decoder.resampled(*self._buffer, start - end, stop - end)


@torch.inference_mode()
def prompt_matcher(codec: Codec, prompt: Prompt) -> SourceMatcher:
    """What chooses among a prompt's beats, by their latents, codes and levels in each latent frame and band."""
    work, frames = codec.decoder.stft.samples_per_beat, codec.config.latent_frames_per_beat
    beats = prompt.beats if prompt.beats is not None else prompt.grid.model_beats(prompt.waveform, prompt.n_beats, work)
    n_beats, n_bands = len(beats), codec.scorer.n_bands
    levels = band_levels(torch.from_numpy(beats).flatten(), n_beats * frames, n_bands, work)
    latents = codec.quantizer.colours(torch.from_numpy(prompt.codes)).numpy()
    return SourceMatcher(latents, prompt.codes, codec.scorer, levels.reshape(n_beats, frames, n_bands).numpy())


def _is_rough(samples: np.ndarray, reach: int) -> bool:
    """Whether a loop clicks when it is played round: its seam bends more than anything `reach` samples around it."""
    around = np.concatenate([samples[-reach - 2 :], samples[: reach + 2]]).astype(np.float64)
    bends = np.abs(np.diff(around, 2, axis=0)).max(axis=1)
    seam = bends[reach : reach + 2].max()
    return bool(seam > max(bends[:reach].max(), bends[reach + 2 :].max()))
