"""The learned beat tracker: where beats, downbeats and the music are, frame by frame; with numpy alone."""

from dataclasses import dataclass

import numpy as np

from melformer.audio.mel import N_BANDS

STEP_FRAMES, KERNEL = 4, 5
DILATIONS = (1, 2, 4, 8, 16, 32, 64)
METRES = ("4/4", "3/4", "5/4", "6/8", "7/8")
BARS = (4, 3, 5, 2, 7)  # beats a bar of each of METRES; 6/8 counts two dotted quarters
N_OUTPUTS, N_TEMPI, N_METRES, UP_CHANNELS = 3, 90, len(METRES), 8
TEMPI_BPM = 40.0 * 6.0 ** ((np.arange(N_TEMPI) + 0.5) / N_TEMPI)  # 40 to 240, steps of 2%
_FLOOR = 1e-3  # of the clip's loudest band: what lies 60 dB under it is as good as silence

Weights = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Activations:
    """Logits of each frame (n_frames,), 100 a second: on a beat, on a downbeat, inside the music; and log-probabilities
    of the clip's tempo (at `TEMPI_BPM`) and metre (of `METRES`)."""

    beat: np.ndarray
    downbeat: np.ndarray
    music: np.ndarray
    tempo: np.ndarray
    metre: np.ndarray


def network_input(bands: np.ndarray) -> np.ndarray:
    """Mel bands as the network takes them: log-magnitudes against the loudest, −1 to 1."""
    return (np.log10(np.maximum(bands / max(float(bands.max()), 1e-9), _FLOOR)) * (2.0 / 3.0) + 1.0).astype(np.float32)


def run_network(x: np.ndarray, w: Weights) -> Activations:
    """What `train/tempo/tempo_network.py` computes, for one clip (n_frames, 40)."""
    assert x.shape[1] == N_BANDS
    n_frames = len(x)
    front = x
    for name in ("front1", "front2"):
        front = np.maximum(_conv(front, w, name), 0.0)
    n_steps = -(-n_frames // STEP_FRAMES)
    front = np.pad(front, ((0, n_steps * STEP_FRAMES - n_frames), (0, 0)))
    h = _conv(front.reshape(n_steps, -1), w, "stem")
    for i, dilation in enumerate(DILATIONS):
        normed = h / np.sqrt(np.square(h).mean(axis=1, keepdims=True) + 1e-5) * w[f"blocks.{i}.gain"]
        inner = np.maximum(_conv(normed, w, f"blocks.{i}.conv", dilation), 0.0)
        h = h + _conv(inner, w, f"blocks.{i}.out")
    up = np.maximum(_conv(h, w, "up"), 0.0).reshape(len(front), -1)
    frames = _conv(np.concatenate([up, front], axis=1), w, "frame_out")[:n_frames]
    hidden = np.maximum(
        w["clip_hidden.weight"] @ np.concatenate([h.mean(axis=0), h.max(axis=0)]) + w["clip_hidden.bias"], 0.0
    )
    tempo, metre = (_log_softmax(w[f"{n}_out.weight"] @ hidden + w[f"{n}_out.bias"]) for n in ("tempo", "metre"))
    return Activations(frames[:, 0], frames[:, 1], frames[:, 2], tempo, metre)


def _conv(x: np.ndarray, w: Weights, name: str, dilation: int = 1) -> np.ndarray:
    """A convolution over the first axis that keeps its length, silence beyond both ends."""
    weight = w[f"{name}.weight"]  # (out, in, taps)
    n_taps, n = weight.shape[2], len(x)
    middle = n_taps // 2
    out = np.tile(w[f"{name}.bias"], (n, 1))
    for tap in range(n_taps):
        shift = (tap - middle) * dilation
        if abs(shift) < n:
            low, high = max(0, -shift), n - max(0, shift)
            out[low:high] += x[low + shift : high + shift] @ weight[:, :, tap].T
    return out


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits - logits.max()
    return top - np.log(np.exp(top).sum())
