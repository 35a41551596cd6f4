"""Curves and sounds of a run for TensorBoard, an extra: `pip install "melformer[track]"`."""

from importlib.util import find_spec
from pathlib import Path

from melformer.audio.waveform import Waveform
from melformer.errors import RequestError


def check_tracker() -> None:
    """Errors: RequestError when TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise RequestError(
            '--track needs TensorBoard, which is not installed: `pip install "melformer[track]"` (or tensorboard), '
            "or leave --track out; RUN/log.jsonl is written in any case."
        )


class Tracker:
    """Writes numbers and clips of a run into a folder that `tensorboard --logdir` shows."""

    def __init__(self, folder: Path, step: int) -> None:
        """`step` is where the run goes on: what was written of later steps is hidden. Errors: RequestError."""
        check_tracker()
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=step + 1)

    def numbers(self, step: int, group: str, values: dict[str, float]) -> None:
        """Add a point to the curve `group/name` of every value."""
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)
        self.writer.flush()

    def clips(self, step: int, sounds: dict[str, Waveform]) -> None:
        """Add sounds (mono or mixed to mono) to listen to."""
        for name, sound in sounds.items():
            samples = sound.mono().samples[None, :, 0].clip(-1.0, 1.0)
            self.writer.add_audio(name, samples, step, round(sound.sample_rate))
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
