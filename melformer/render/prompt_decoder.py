"""The decoder as a stream that begins after a prompt, with the level, colour and place of each of its channels."""

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import beats_per_second
from melformer.audio.resample import REACH, resample_span
from melformer.codec.codec import Codec
from melformer.generate.prompt import Prompt
from melformer.render.levels import LevelCorrector
from melformer.render.stereo_image import channel_gains, channel_phases

WARM_BEATS = 4
"""Model beats of the prompt that the decoder hears first: enough to fill its memory and to compare levels."""


class PromptDecoder:
    """Decodes for one prompt; it holds nothing that changes.

    `state` and `samples` (channels, n) are what the decoder carries, and what it has made, at the prompt's end.
    """

    @torch.inference_mode()
    def __init__(self, codec: Codec, prompt: Prompt) -> None:
        self.codec, self.prompt = codec, prompt
        self.samples_per_beat = codec.decoder.stft.samples_per_beat
        self.step = 1 / prompt.grid.model_step(self.samples_per_beat)
        codes = torch.from_numpy(prompt.codes[-WARM_BEATS:])
        spectra, self.state = codec.decoder.spectra(codec.quantizer.decode(codes).flatten(0, 1)[None], None)
        self.levels = LevelCorrector(codec, spectra, codes)
        self.gains = torch.from_numpy(self._gains(spectra))
        segments = codec.decoder.stft.segments(spectra * self.gains[:, None])
        self.samples, self.state.carry = codec.decoder.stft.overlap_add(segments)

    def _gains(self, spectra: Tensor) -> np.ndarray:
        """Level, colour and place of each channel, from the part of the prompt that the decoder has just heard."""
        decoder, prompt = self.codec.decoder, self.prompt
        samples, _ = decoder.stft.overlap_add(decoder.stft.segments(spectra))
        rate = beats_per_second(prompt.model_bpm) * self.samples_per_beat
        hz = np.arange(decoder.stft.n_bins) * (rate / decoder.stft.n_fft)
        n_heard = round(min(WARM_BEATS, len(prompt.codes)) * prompt.grid.samples_per_model_beat)
        heard, sample_rate = prompt.waveform.samples[-n_heard:], prompt.waveform.sample_rate
        decoded = samples[0, decoder.delay_samples :, None].numpy()
        gains = channel_gains(heard, sample_rate, decoded, rate, hz)
        return gains * np.exp(1j * channel_phases(heard, sample_rate, hz)).astype(np.complex64)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> tuple[Tensor, int]:
        """Codes of the new part, int64 (model beats, frames, n_codebooks) → samples (channels, n), and where the first
        of them stands, counted from the start of the new part: the end of the prompt comes before it."""
        decoder, before = self.codec.decoder, self.samples[:, -self.samples_per_beat :]
        spectra, _ = decoder.spectra(self.codec.quantizer.decode(codes.flatten(0, 1)[None]), self.state)
        spectra = self.levels.held(spectra, codes, torch.from_numpy(self.prompt.codes[-1:]))
        segments = decoder.stft.segments(spectra * self.gains[:, None])
        samples, _ = decoder.stft.overlap_add(segments, self.state.carry)
        return torch.cat([before, samples], dim=1), -decoder.delay_samples - before.shape[1]

    def resampled(self, samples: Tensor, first: int, start: int, stop: int) -> np.ndarray:
        """Samples start … stop of the new part at the prompt's rate, from decoded ones (channels, n) of which the first
        stands at `first` on the beat grid: float32 (n, channels)."""
        low = max(0, int(start * self.step) - int(2 * REACH * max(1, self.step)) - 2 - first)
        return resample_span(samples[:, low:].numpy().T, self.step, start, stop - start, -first - low)

    def decode_loop(self, codes: np.ndarray) -> np.ndarray:
        """A whole loop as the decoder alone says it: (model beats, frames, n) → float32 (prompt samples, channels)."""
        return self.codec.decode_on(self.prompt.grid, self.prompt.n_beats, codes, self.gains)
