"""One take's sound: codes in, samples at the player's own rate out, copied where they can be, decoded where not."""

import math
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from melformer.audio.resample import REACH
from melformer.codec.codec import Codec
from melformer.codec.decoder import DecoderState
from melformer.codec.source_scorer import band_levels
from melformer.generate.prompt import Prompt
from melformer.render.band_mixer import BandMixer
from melformer.render.crossfade import crossfade
from melformer.render.prompt_decoder import PromptDecoder
from melformer.render.source_matcher import FOLLOW, GENERATE, WHOLE, MatcherState, SourceMatcher

JOIN_S, FADE_S = 0.030, 0.010
HISTORY_BEATS = 2
"""Model beats that the decoder hears when it begins again: as far as its convolutions see."""


@dataclass(frozen=True)
class Decoded:
    """Decoded sound at the prompt's rate: float32 (n, channels), its first sample at `start` of the whole piece."""

    start: int
    samples: np.ndarray


@dataclass
class RendererState:
    """What a take's sound carries from beat to beat.

    `buffer` (channels, n) is decoded sound on the work grid, its first sample at `buffer_start` (counted from the
    start of the new part), and `decoder` stands after `n_decoded` of the `n_pushed` model beats; `history` int64
    (n ≤ 2, frames, n_codebooks) are the last beats' codes, to begin decoding again from; `lags` (n,) are the sources
    of the new latent frames from `lags_start` on, `bands` (n, n_bands) those of bands that have their own; `recent`
    (n ≤ 4, P) are the last beats' distances to the prompt's.
    """

    decoder: DecoderState
    history: Tensor
    buffer: Tensor
    buffer_start: int
    lags: np.ndarray
    bands: np.ndarray
    recent: np.ndarray
    lags_start: int
    n_pushed: int
    n_decoded: int
    last_lag: int


class Renderer:
    """Renders one take of a prompt; `push` codes of a model beat, then `render` the beats that are complete.

    All that changes is `state`.
    """

    def __init__(self, codec: Codec, prompt: Prompt) -> None:
        self.codec, self.prompt = codec, prompt
        self.work = codec.decoder.stft.samples_per_beat
        self.frames = codec.config.latent_frames_per_beat
        self.n_kept = 2 + math.ceil(prompt.model_beats_per_beat)  # model beats that a beat may still need
        rate = prompt.waveform.sample_rate
        self.samples_per_model_beat = prompt.grid.samples_per_model_beat
        self.fade = round(FADE_S * rate)
        self.n_join = min(round(JOIN_S * rate), prompt.waveform.n_samples // 2)
        self.rough_seam = _is_rough(prompt.waveform.samples, round(0.003 * rate))
        self.matcher, self.decoder = _matcher(codec, prompt), PromptDecoder(codec, prompt)
        self.mixer = BandMixer(rate, prompt.model_bpm, self.matcher.n_bands, self.work)
        self.state = self._begin()

    def _begin(self) -> RendererState:
        kept = min(self.decoder.samples.shape[1], self.work)
        return RendererState(
            decoder=self.decoder.state, history=torch.from_numpy(self.prompt.codes[-HISTORY_BEATS:]),
            buffer=self.decoder.samples[:, -kept:], buffer_start=-self.codec.decoder.delay_samples - kept,
            lags=np.zeros(0, np.int64), bands=np.zeros((0, self.matcher.n_bands), np.int64),
            recent=self.matcher.begin().recent, lags_start=0, n_pushed=0, n_decoded=0, last_lag=GENERATE,
        )  # fmt: skip

    def fork(self) -> "Renderer":
        """Another take's renderer, as this one is now; what both know of the prompt exists once."""
        return copy(self)

    @torch.inference_mode()
    def push(self, codes: Tensor, own_sound: float) -> None:
        """Take the next model beat: codes int64 (n_frames, n_codebooks)."""
        state, kept = self.state, self.n_kept * self.frames
        latents = self.codec.quantizer.colours(codes[None])
        position = len(self.prompt.codes) + state.n_pushed
        last_bands = state.bands[-1] if len(state.bands) else self.matcher.begin().bands
        before = MatcherState(state.last_lag, last_bands, state.recent)
        lags, bands, after = self.matcher.choose(latents[0].numpy(), codes.numpy(), position, own_sound, before)
        lags, bands = np.append(state.lags[-kept:], lags), np.concatenate([state.bands[-kept:], bands])
        self.state = replace(
            state, history=torch.cat([state.history, codes[None]])[-HISTORY_BEATS:], lags=lags, bands=bands,
            recent=after.recent, lags_start=state.lags_start + max(0, len(state.lags) - kept),
            n_pushed=state.n_pushed + 1, last_lag=after.lag,
        )  # fmt: skip
        if (lags[-kept:] == GENERATE).any() or (bands[-kept:] == GENERATE).any():
            self.state = self._decoded_state(codes, state)

    def _decoded_state(self, codes: Tensor, before: RendererState) -> RendererState:
        """The state with what the decoder makes of the last model beat, where `before` is the state before it.

        Beats that are copied are not decoded. After some of them the decoder begins again, two beats back.
        """
        goes_on = before.n_decoded == before.n_pushed
        decoder = before.decoder if goes_on else None
        samples, after = self.decoder.decode(codes, before.n_pushed, before.history, decoder)
        if goes_on:
            samples = torch.cat([before.buffer, samples], dim=1)[:, -(self.n_kept + 1) * self.work :]
        n_decoded = before.n_pushed + 1
        start = n_decoded * self.work - self.codec.decoder.delay_samples - samples.shape[1]
        return replace(self.state, decoder=after, buffer=samples, buffer_start=start, n_decoded=n_decoded)

    def lags_of(self, first: int, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources of latent frames `first` … of the new part: lags (n_frames,), of bands (n_frames, n_bands)."""
        part = slice(first - self.state.lags_start, first - self.state.lags_start + n_frames)
        lags, bands = self.state.lags[part].copy(), self.state.bands[part]
        return lags, np.where(bands < 0, lags[:, None], bands)

    def beats_needed(self, beat_end: Fraction) -> int:
        """Model beats to be pushed before sound up to `beat_end` (model beats into the new part) is complete."""
        margin = self.codec.decoder.delay_samples + 2 * REACH * max(1, self.decoder.step) + 2
        margin += (self.mixer.n_fft + self.fade) * self.decoder.step
        return -int(-(beat_end + Fraction(margin) / self.work) // 1)

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
        state, half = self.state, self.mixer.n_fft // 2
        per_frame = float(self.samples_per_model_beat) / self.frames

        def latent_frame(samples: np.ndarray) -> np.ndarray:
            index = np.floor((samples + 0.5) / per_frame).astype(int) - state.lags_start
            return np.clip(index, 0, len(state.bands) - 1)

        centres = frames * self.mixer.hop
        chosen = state.bands[latent_frame(centres)]
        for edge in (-half - 1, half + 1):
            chosen = np.where(state.bands[latent_frame(centres + edge)] == WHOLE, FOLLOW, chosen)
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
        return self._source(int(self.state.lags[0]), end - self.n_join, end, None)

    def _runs(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Runs of one source that touch start … stop: (first sample, lag) each, and one more that bounds the last."""
        state, end = self.state, self.prompt.waveform.n_samples
        boundaries = [
            end + round(self.samples_per_model_beat * (state.lags_start + i) / self.frames)
            for i in range(len(state.lags) + 1)
        ]
        runs: list[tuple[int, int]] = []
        for boundary, lag in zip(boundaries, state.lags.tolist()):
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
        end, state = self.prompt.waveform.n_samples, self.state
        return self.decoder.resampled(state.buffer, state.buffer_start, start - end, stop - end)


@torch.inference_mode()
def _matcher(codec: Codec, prompt: Prompt) -> SourceMatcher:
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
