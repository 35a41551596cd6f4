"""Trains a tiny model to a step and stops: `train_worker.py STAGE DATA RUN UNTIL`; also under torchrun."""

import json
import sys
from pathlib import Path

import torch

from melformer.config import PRESETS
from melformer.train.options import TrainOptions
from melformer.train.tasks.codec import CodecTask
from melformer.train.tasks.transformer import TransformerTask
from melformer.train.trainer import Task, Trainer

OPTIONS = TrainOptions(
    steps=8, batch_size=2, accumulate=2, warmup_steps=3, ema_decay=0.9, validate_every=4, save_every=4, bf16=False
)


def main(stage: str, data: Path, run: Path, until: int) -> None:
    torch.set_num_threads(1)
    config = PRESETS["tiny"]
    task: Task
    if stage == "codec":
        task = CodecTask(config, data, OPTIONS)
    else:
        task = TransformerTask(config, data, OPTIONS, n_beats=12, n_chosen=4)
    trainer = Trainer(task, OPTIONS, run)
    if (run / "state.pt").exists():
        trainer.resume()
    trainer.fit(until)
    print(json.dumps({"rank": trainer.rank, "processes": trainer.world, "step": trainer.step}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
