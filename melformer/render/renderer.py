"""One take's sound: codes in, samples at the player's own rate out, copied where they can be, decoded where not."""

import math
from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import beats_per_second
from melformer.audio.resample import REACH, resample_span
from melformer.codec.codec import Codec
from melformer.codec.decoder import DecoderState
from melformer.codec.source_scorer import band_levels
from melformer.generate.prompt import Prompt
from melformer.render.band_mixer import BandMixer
from melformer.render.crossfade import crossfade
from melformer.render.levels import LevelCorrector
from melformer.render.source_matcher import FOLLOW, GENERATE, WHOLE, MatcherState, SourceMatcher
from melformer.render.stereo_image import channel_gains, channel_phases

JOIN_S, FADE_S = 0.030, 0.010
WARM_BEATS = 4
"""Model beats of the prompt that the decoder hears first: enough to fill its memory and to compare levels."""
HISTORY_BEATS = 2
"""Model beats that the decoder hears when it begins again: as far as its convolutions see."""


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


@dataclass
class Renderer:
    """Renders one take of a prompt; `push` codes of a model beat, then `render` the beats that are complete."""

    codec: Codec
    prompt: Prompt
    gains: Tensor = field(init=False)
    levels: LevelCorrector = field(init=False)
    own: SourceMatcher = field(init=False)
    state: RendererState = field(init=False)

    def __post_init__(self) -> None:
        config, decoder = self.codec.config, self.codec.decoder
        self.work = decoder.stft.samples_per_beat
        self.frames = config.latent_frames_per_beat
        self.n_kept = 2 + math.ceil(self.prompt.model_beats_per_beat)  # model beats that a beat may still need
        rate, prompt = self.prompt.waveform.sample_rate, self.prompt
        self.samples_per_model_beat = prompt.grid.samples_per_model_beat
        self.step = 1 / prompt.grid.model_step(self.work)
        self.fade = round(FADE_S * rate)
        self.n_join = min(round(JOIN_S * rate), prompt.waveform.n_samples // 2)
        self.rough_seam = _is_rough(prompt.waveform.samples, round(0.003 * rate))
        self.decoded: tuple[int, np.ndarray] | None = None  # while a beat is rendered: its first sample, and all
        self.own, (spectra, warm) = self._listen(), self._warm_up()
        with torch.inference_mode():
            self.levels = LevelCorrector(self.codec, spectra, torch.from_numpy(prompt.codes[-WARM_BEATS:]))
            self.gains = torch.from_numpy(self._gains(spectra))
            channels = spectra * self.gains[:, None]
            samples, carry = decoder.stft.overlap_add(decoder.stft.segments(channels))
        warm.carry = carry
        kept = min(samples.shape[1], self.work)
        start = -decoder.delay_samples - kept
        self.patches = BandMixer(rate, prompt.model_bpm, self.own.n_bands, self.work)
        self.state = RendererState(
            warm, torch.from_numpy(prompt.codes[-HISTORY_BEATS:]), samples[:, -kept:], start, np.zeros(0, np.int64),
            np.zeros((0, self.own.n_bands), np.int64), self.own.memory.recent, 0, 0, 0, GENERATE,
        )  # fmt: skip

    def fork(self) -> "Renderer":
        """Another take's voice, as this one is now; what both know of the prompt exists once."""
        other = copy(self)
        other.own = copy(self.own)
        return other

    @torch.inference_mode()
    def _listen(self) -> SourceMatcher:
        """What chooses the sources, with the prompt in its ear."""
        latents = self.codec.quantizer.colours(torch.from_numpy(self.prompt.codes))
        return SourceMatcher(latents.numpy(), self.prompt.codes, self.codec.scorer, self._heard())

    @torch.inference_mode()
    def _warm_up(self) -> tuple[Tensor, DecoderState]:
        """The prompt's last beats as the decoder says them, spectra (1, frames, n_bins), and its state after them."""
        latents = self.codec.quantizer.decode(torch.from_numpy(self.prompt.codes[-WARM_BEATS:]))
        return self.codec.decoder.spectra(latents.flatten(0, 1)[None], None)

    def _heard(self) -> np.ndarray:
        """Levels of the prompt's samples in each latent frame and band: (P, frames, n_bands)."""
        prompt, n_bands = self.prompt, self.codec.scorer.n_bands
        beats = prompt.beats
        if beats is None:
            beats = prompt.grid.model_beats(prompt.waveform, prompt.n_beats, self.work)
        n_beats = len(beats)
        levels = band_levels(torch.from_numpy(beats).flatten(), n_beats * self.frames, n_bands, self.work)
        return levels.reshape(n_beats, self.frames, n_bands).numpy()

    def _gains(self, spectra: Tensor) -> np.ndarray:
        """Level, colour and place of each channel, from the part of the prompt that the decoder has just said."""
        stft = self.codec.decoder.stft
        samples, _ = stft.overlap_add(stft.segments(spectra))
        rate = beats_per_second(self.prompt.model_bpm) * self.work
        hz = np.arange(stft.n_bins) * (rate / stft.n_fft)
        said = round(min(WARM_BEATS, len(self.prompt.codes)) * self.samples_per_model_beat)
        heard = self.prompt.waveform.samples[-said:]
        decoded = samples[0, self.codec.decoder.delay_samples :, None].numpy()
        sample_rate = self.prompt.waveform.sample_rate
        gains = channel_gains(heard, sample_rate, decoded, rate, hz)
        return gains * np.exp(1j * channel_phases(heard, sample_rate, hz)).astype(np.complex64)

    @torch.inference_mode()
    def push(self, codes: Tensor, own_sound: float) -> None:
        """Take the next model beat: codes int64 (n_frames, n_codebooks)."""
        state, kept = self.state, self.n_kept * self.frames
        latents = self.codec.quantizer.colours(codes[None])
        position = len(self.prompt.codes) + state.n_pushed
        last_bands = state.bands[-1] if len(state.bands) else np.full(self.own.n_bands, FOLLOW)
        self.own.memory = MatcherState(state.last_lag, last_bands, state.recent)
        lags, bands = self.own.choose(latents[0].numpy(), codes.numpy(), position, own_sound)
        lags, bands = np.append(state.lags[-kept:], lags), np.concatenate([state.bands[-kept:], bands])
        heard, decoder, n_decoded = (state.buffer, state.buffer_start), state.decoder, state.n_decoded
        if (lags[-kept:] == GENERATE).any() or (bands[-kept:] == GENERATE).any():
            heard, decoder = self._decode(codes, state.n_pushed)
            n_decoded = state.n_pushed + 1
        self.state = RendererState(
            decoder, torch.cat([state.history, codes[None]])[-HISTORY_BEATS:], *heard, lags, bands,
            self.own.memory.recent, state.lags_start + max(0, len(state.lags) - kept), state.n_pushed + 1, n_decoded,
            self.own.memory.lag,
        )  # fmt: skip

    def _decode(self, codes: Tensor, index: int) -> tuple[tuple[Tensor, int], DecoderState]:
        """The buffer with what the decoder makes of model beat `index`, where it starts, and the decoder's new state.

        Beats that are copied are not decoded. After some of them the decoder begins again, two beats back.
        """
        state, decoder = self.state, self.codec.decoder
        goes_on = state.n_decoded == index
        said = codes[None] if goes_on else torch.cat([state.history, codes[None]])
        latents = self.codec.quantizer.decode(said.flatten(0, 1)[None])
        n_before = min(WARM_BEATS, len(self.prompt.codes)) + index - len(state.history)
        spectra, new_state = decoder.spectra(latents, state.decoder if goes_on else None, n_before)
        spectra = self.levels.held(spectra, said, state.history if goes_on else None)
        segments = decoder.stft.segments(spectra * self.gains[:, None])
        samples, new_state.carry = decoder.stft.overlap_add(segments, state.decoder.carry if goes_on else None)
        if goes_on:
            samples = torch.cat([state.buffer, samples], dim=1)[:, -(self.n_kept + 1) * self.work :]
        end = (index + 1) * self.work - decoder.delay_samples
        return (samples, end - samples.shape[1]), new_state

    def lags_of(self, first: int, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources of latent frames `first` … of the new part: lags (n_frames,), of bands (n_frames, n_bands)."""
        part = slice(first - self.state.lags_start, first - self.state.lags_start + n_frames)
        lags, bands = self.state.lags[part].copy(), self.state.bands[part]
        return lags, np.where(bands < 0, lags[:, None], bands)

    def beats_needed(self, beat_end: Fraction) -> int:
        """Model beats to be pushed before sound up to `beat_end` (model beats into the new part) is complete."""
        margin = self.codec.decoder.delay_samples + 2 * REACH * max(1, self.step) + 2
        margin += (self.patches.n_fft + self.fade) * self.step
        return -int(-(beat_end + Fraction(margin) / self.work) // 1)

    def render(self, start: int, stop: int) -> np.ndarray:
        """Samples start … stop of the whole piece (the prompt's first sample is 0): float32 (n, channels)."""
        end, reach = self.prompt.waveform.n_samples, self.fade
        low, high = start, stop
        frames = self.patches.frames(start - end, stop - end)
        chosen = self._chosen_bands(frames)
        used = np.flatnonzero((chosen >= 0).any(axis=1))
        if len(used):
            frames, chosen = frames[used[0] : used[-1] + 1], chosen[used[0] : used[-1] + 1]
            first, last = (edge + end for edge in self.patches.span(frames))
            low, high = min(start, first), max(stop, last)
        lags = set(np.unique(chosen[chosen >= 0]).tolist())
        if GENERATE in lags or any(lag == GENERATE for _, lag in self._runs(low, high)):
            self.decoded = (low - reach, self._decoded(low - reach, high + reach))
        out = self._frames_sound(low, high)
        if lags:
            part = out[first - low : last - low]
            part += self.patches.difference({lag: self._source(lag, first, last) for lag in lags}, chosen, part)
        self.decoded = None
        return out[start - low : stop - low]

    def _chosen_bands(self, frames: np.ndarray) -> np.ndarray:
        """Sources of the bands in frames of the patches: (n, n_bands), FOLLOW wherever a frame touches a whole beat."""
        state, half = self.state, self.patches.n_fft // 2
        per_frame = float(self.samples_per_model_beat) / self.frames

        def latent_frame(samples: np.ndarray) -> np.ndarray:
            index = np.floor((samples + 0.5) / per_frame).astype(int) - state.lags_start
            return np.clip(index, 0, len(state.bands) - 1)

        centres = frames * self.patches.hop
        chosen = state.bands[latent_frame(centres)]
        for edge in (-half - 1, half + 1):
            chosen = np.where(state.bands[latent_frame(centres + edge)] == WHOLE, FOLLOW, chosen)
        return chosen

    def _frames_sound(self, start: int, stop: int) -> np.ndarray:
        """Samples start … stop with each whole frame from its source: float32 (n, channels)."""
        out = np.empty((stop - start, self.prompt.waveform.n_channels), np.float32)
        runs = self._runs(start, stop)
        for (begin, lag), (end, _) in zip(runs, runs[1:]):
            low, high = max(begin, start), min(end, stop)
            if low < high:
                out[low - start : high - start] = self._source(lag, low, high)
        fade = self.fade
        for (_, leaving), (boundary, entering) in zip(runs, runs[1:]):
            low, high = max(boundary - fade, start), min(boundary, stop)
            if low < high and leaving != entering and boundary - fade >= self.prompt.waveform.n_samples:
                mixed = crossfade(self._source(leaving, boundary - fade, boundary), self._before(entering, boundary))
                out[low - start : high - start] = mixed[low - boundary + fade : high - boundary + fade]
        return out

    def _before(self, lag: int, boundary: int) -> np.ndarray:
        """What a source sounds like just before it enters: float32 (fade, channels).

        Before the prompt's beginning stands its end, as when the loop plays round; where that would click, the
        beginning itself, turned about its first sample: level and slope then run on.
        """
        prompt = self.prompt.waveform
        begins = (boundary - round(self.samples_per_model_beat * lag)) % prompt.n_samples
        if lag != GENERATE and self.rough_seam and min(begins, prompt.n_samples - begins) <= 1:
            return 2.0 * prompt.samples[:1] - prompt.samples[1 : self.fade + 1][::-1]
        return self._source(lag, boundary - self.fade, boundary)

    def lead_in(self) -> np.ndarray:
        """What the first new beat's source sounds like in the 30 ms before it: float32 (n, channels)."""
        end = self.prompt.waveform.n_samples
        return self._source(int(self.state.lags[0]), end - self.n_join, end)

    @torch.inference_mode()
    def decode_loop(self, codes: Tensor) -> np.ndarray:
        """A whole loop as the decoder alone says it: (model beats, frames, n) → float32 (prompt samples, channels)."""
        decoder = self.codec.decoder
        around = torch.cat([codes[-1:], codes, codes[:1]])
        spectra, _ = decoder.spectra(self.codec.quantizer.decode(around.flatten(0, 1)[None]), None)
        samples, _ = decoder.stft.overlap_add(decoder.stft.segments(spectra * self.gains[:, None]))
        first = decoder.delay_samples + self.work
        skipped = self.prompt.grid.n_skipped(self.prompt.n_beats)
        return resample_span(samples.numpy().T, self.step, -skipped, self.prompt.waveform.n_samples, first)

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

    def _source(self, lag: int, start: int, stop: int) -> np.ndarray:
        """What one source sounds like at samples start … stop: float32 (n, channels)."""
        prompt = self.prompt.waveform
        if lag == GENERATE:
            if self.decoded is None:
                return self._decoded(start, stop)
            begin, samples = self.decoded
            return samples[start - begin : stop - begin]
        first = (start - round(self.samples_per_model_beat * lag)) % prompt.n_samples
        if first + stop - start <= prompt.n_samples:
            return prompt.samples[first : first + stop - start]
        return prompt.samples[np.arange(first, first + stop - start) % prompt.n_samples]

    def _decoded(self, start: int, stop: int) -> np.ndarray:
        """What the decoder says at samples start … stop: float32 (n, channels)."""
        origin = start - self.prompt.waveform.n_samples
        low = int(origin * self.step) - int(2 * REACH * max(1, self.step)) - 2 - self.state.buffer_start
        samples = self.state.buffer[:, max(0, low) :].numpy().T
        return resample_span(samples, self.step, origin, stop - start, -self.state.buffer_start - max(0, low))


def _is_rough(samples: np.ndarray, reach: int) -> bool:
    """Whether a loop clicks when it is played round: its seam bends more than anything `reach` samples around it."""
    around = np.concatenate([samples[-reach - 2 :], samples[: reach + 2]]).astype(np.float64)
    bends = np.abs(np.diff(around, 2, axis=0)).max(axis=1)
    seam = bends[reach : reach + 2].max()
    return bool(seam > max(bends[:reach].max(), bends[reach + 2 :].max()))
