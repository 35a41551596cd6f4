"""A loop from its codes alone: the codec's, its colour, and where its sounds stand between the channels."""

import numpy as np
import torch

from melformer.audio.io import Waveform
from melformer.audio.waveform import model_waveform
from melformer.codec.codec import Codec
from melformer.codec.stereo import decode_side, encode_side
from melformer.generate.prompt import Prompt
from melformer.render.stereo_image import channel_gains

COLOUR_BITS = 24 * 5
"""Once per loop: gains of 24 bands in whole decibels, −20 to 11."""
_COLOUR_HZ = np.geomspace(40.0, 18_000.0, 24)
_COLOUR_DB = (-20, 11)


@torch.inference_mode()
def rebuild(codec: Codec, prompt: Prompt, codes: np.ndarray) -> Waveform:
    """What codes (model beats, frames, n), colour and side codes say of a prompt, at its rate, length and channels.

    The colour is there because a decoder whose phases are unsure of themselves plays some bands too softly.
    """
    wave, rate = prompt.waveform, prompt.waveform.sample_rate
    middle = codec.decode_on(prompt.grid, prompt.n_beats, codes)
    middle = _coloured(middle, rate, colour_codes(wave.mono().samples, middle, rate))
    side = encode_side(wave.samples, rate, prompt.model_bpm)
    if side is None:
        return model_waveform(np.repeat(middle, wave.n_channels, axis=1), rate)
    return model_waveform(decode_side(middle, side, rate, prompt.model_bpm), rate)


def colour_codes(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> np.ndarray:
    """What brings the decoded loop to the original's level in each band: (n, 1) twice → int8 decibels (24,)."""
    gains = channel_gains(original, sample_rate, decoded, sample_rate, _COLOUR_HZ)[0]
    return np.clip(np.rint(20.0 * np.log10(np.maximum(gains, 1e-3))), *_COLOUR_DB).astype(np.int8)


def _coloured(middle: np.ndarray, sample_rate: int, colour: np.ndarray) -> np.ndarray:
    """Apply colour codes to a loop (n, 1), round its end, without a change of phases."""
    hz = np.fft.rfftfreq(len(middle), 1.0 / sample_rate)
    gains = 10.0 ** (np.interp(np.log(np.maximum(hz, 1.0)), np.log(_COLOUR_HZ), colour) / 20.0)
    spectrum = np.fft.rfft(middle[:, 0]) * gains
    return np.fft.irfft(spectrum, len(middle)).astype(np.float32)[:, None]
