"""One take's sound: codes in, samples at the player's own rate out, copied where they can be, decoded where not."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from melformer.audio.resample import REACH, resample_span
from melformer.codec.codec import Codec, DecoderState
from melformer.generate.fades import crossfade
from melformer.generate.image import channel_gains
from melformer.generate.own_sound import GENERATE, OwnSound
from melformer.generate.prompt import Prompt

JOIN_S, FADE_S = 0.030, 0.010
WARM_BEATS = 8
"""Model beats of the prompt that the decoder hears first: enough to fill its memory and to compare levels."""


@dataclass
class VoiceState:
    """What a take's sound carries from beat to beat.

    `buffer` (channels, n) is decoded sound on the work grid, its first sample at `buffer_start` (counted from the
    start of the new part); `lags` (n_frames so far,) are the sources of the new latent frames from `lags_start` on.
    """

    decoder: DecoderState
    buffer: Tensor
    buffer_start: int
    lags: np.ndarray
    lags_start: int
    n_pushed: int
    last_lag: int


@dataclass
class Voice:
    """Renders one take of a prompt; `push` codes of a model beat, then `render` the beats that are complete."""

    codec: Codec
    prompt: Prompt
    gains: Tensor = field(init=False)
    own: OwnSound = field(init=False)
    state: VoiceState = field(init=False)

    def __post_init__(self) -> None:
        config, decoder = self.codec.config, self.codec.decoder
        self.work = decoder.stft.samples_per_beat
        self.frames = config.latent_frames_per_beat
        self.n_kept = 2 + math.ceil(self.prompt.model_beats_per_beat)  # model beats that a beat may still need
        rate, prompt = self.prompt.waveform.sample_rate, self.prompt
        self.samples_per_model_beat = Fraction(60 * rate) / Fraction(prompt.model_bpm).limit_denominator(10**6)
        self.step = self.work / self.samples_per_model_beat
        with torch.inference_mode():
            latents = self.codec.quantizer.decode(torch.from_numpy(prompt.codes))
            self.own = OwnSound(latents.numpy())
            spectra, warm = decoder.spectra(latents[-WARM_BEATS:].flatten(0, 1)[None], None)
            self.gains = torch.from_numpy(self._gains(spectra))
            channels = spectra * self.gains[:, None]
            samples, carry = decoder.stft.overlap_add(decoder.stft.segments(channels))
        warm.carry = carry
        kept = min(samples.shape[1], self.work)
        start = -decoder.delay_samples - kept
        self.state = VoiceState(warm, samples[:, -kept:], start, np.zeros(0, np.int64), 0, 0, GENERATE)

    def _gains(self, spectra: Tensor) -> np.ndarray:
        """Level and colour of each channel, from the part of the prompt that the decoder has just said."""
        stft = self.codec.decoder.stft
        samples, _ = stft.overlap_add(stft.segments(spectra))
        rate = self.prompt.model_bpm / 60.0 * self.work
        hz = np.arange(stft.n_bins) * (rate / stft.n_fft)
        said = round(min(WARM_BEATS, len(self.prompt.codes)) * self.samples_per_model_beat)
        heard = self.prompt.waveform.samples[-said:]
        decoded = samples[0, self.codec.decoder.delay_samples :, None].numpy()
        return channel_gains(heard, self.prompt.waveform.sample_rate, decoded, rate, hz)

    @torch.inference_mode()
    def push(self, codes: Tensor, own_sound: float) -> None:
        """Take the next model beat: codes int64 (n_frames, n_codebooks)."""
        state, decoder = self.state, self.codec.decoder
        latents = self.codec.quantizer.decode(codes[None])
        spectra, new_state = decoder.spectra(latents, state.decoder)
        segments = decoder.stft.segments(spectra * self.gains[:, None])
        samples, new_state.carry = decoder.stft.overlap_add(segments, state.decoder.carry)
        position = len(self.prompt.codes) + state.n_pushed
        self.own.last_lag = state.last_lag
        lags = self.own.choose(latents[0].numpy(), position, own_sound)
        keep = max(0, state.buffer.shape[1] - self.n_kept * self.work)
        self.state = VoiceState(
            new_state, torch.cat([state.buffer[:, keep:], samples], dim=1), state.buffer_start + keep,
            np.append(state.lags[-self.n_kept * self.frames :], lags),
            state.lags_start + max(0, len(state.lags) - self.n_kept * self.frames), state.n_pushed + 1,
            self.own.last_lag,
        )  # fmt: skip

    def beats_needed(self, beat_end: Fraction) -> int:
        """Model beats to be pushed before sound up to `beat_end` (model beats into the new part) is complete."""
        margin = self.codec.decoder.delay_samples + 2 * REACH * max(1, self.step) + 2
        return -int(-(beat_end + Fraction(margin) / self.work) // 1)

    def render(self, start: int, stop: int) -> np.ndarray:
        """Samples start … stop of the whole piece (the prompt's first sample is 0): float32 (n, channels)."""
        out = np.empty((stop - start, self.prompt.waveform.n_channels), np.float32)
        runs = self._runs(start, stop)
        for (begin, lag), (end, _) in zip(runs, runs[1:]):
            low, high = max(begin, start), min(end, stop)
            if low < high:
                out[low - start : high - start] = self._source(lag, low, high)
        fade = round(FADE_S * self.prompt.waveform.sample_rate)
        for (_, leaving), (boundary, entering) in zip(runs, runs[1:]):
            low = boundary - fade
            if start <= low and boundary <= stop and leaving != entering:
                out[low - start : boundary - start] = crossfade(
                    out[low - start : boundary - start], self._source(entering, low, boundary)
                )
        return out

    def lead_in(self) -> np.ndarray:
        """What the first new beat's source sounds like in the 30 ms before it: float32 (n, channels)."""
        prompt = self.prompt.waveform
        n = min(round(JOIN_S * prompt.sample_rate), prompt.n_samples // 2)
        return self._source(int(self.state.lags[0]), prompt.n_samples - n, prompt.n_samples)

    @torch.inference_mode()
    def decode_loop(self, codes: Tensor) -> np.ndarray:
        """A whole loop as the decoder alone says it: (model beats, frames, n) → float32 (prompt samples, channels)."""
        decoder = self.codec.decoder
        around = torch.cat([codes[-1:], codes, codes[:1]])
        spectra, _ = decoder.spectra(self.codec.quantizer.decode(around.flatten(0, 1)[None]), None)
        samples, _ = decoder.stft.overlap_add(decoder.stft.segments(spectra * self.gains[:, None]))
        first = decoder.delay_samples + self.work
        skipped = int((self.prompt.n_model_beats - len(codes)) * self.work)
        return resample_span(samples.numpy().T, self.step, 0, self.prompt.waveform.n_samples, first - skipped)

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
        touching = [i for i in range(len(runs) - 1) if runs[i + 1][0] > start and runs[i][0] <= stop]
        return runs[touching[0] : touching[-1] + 2]

    def _source(self, lag: int, start: int, stop: int) -> np.ndarray:
        """What one source sounds like at samples start … stop: float32 (n, channels)."""
        prompt = self.prompt.waveform
        if lag != GENERATE:
            first = start - round(self.samples_per_model_beat * lag)
            return prompt.samples[np.arange(first, first + stop - start) % prompt.n_samples]
        origin = start - prompt.n_samples
        low = int(origin * self.step) - int(2 * REACH * max(1, self.step)) - 2 - self.state.buffer_start
        samples = self.state.buffer[:, max(0, low) :].numpy().T
        return resample_span(samples, self.step, origin, stop - start, -self.state.buffer_start - max(0, low))
