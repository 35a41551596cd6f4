"""One training loop for every model: exact resume, any number of processes, a log that is always written."""

import json
import os
import time
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from melformer.errors import CheckpointError
from melformer.files import atomic_path
from melformer.train.options import TrainOptions


class Task(Protocol):
    """What the loop needs to know of a model: its loss on one micro-batch, a validation, a way out."""

    module: nn.Module

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]: ...

    def after_step(self, step: int) -> list[str]:
        """Names of parameters that were moved by hand, so that their averages start anew."""
        ...

    def validate(self) -> dict[str, float]: ...

    def export(self, directory: Path, record: dict[str, Any]) -> None: ...


class Trainer:
    """Runs a `Task`; everything it draws is a pure function of (seed, step, rank, micro-batch)."""

    def __init__(self, task: Task, options: TrainOptions, run: Path) -> None:
        self.task, self.options, self.run = task, options, run
        self.rank, self.world = join_processes()
        self.model: nn.Module = task.module
        if self.world > 1:
            self.model = nn.parallel.DistributedDataParallel(task.module)
        self.optimizer = torch.optim.AdamW(
            task.module.parameters(), lr=options.lr, betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay, fused=True,
        )  # fmt: skip
        self.ema = {name: p.detach().clone() for name, p in task.module.named_parameters()}
        self.step, self.seconds = 0, 0.0

    def resume(self) -> None:
        """Go on from `run/state.pt`. Errors: CheckpointError when it is missing or damaged."""
        path = self.run / "state.pt"
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            self.task.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.ema, self.step, self.seconds = state["ema"], state["step"], state["seconds"]
        except (OSError, RuntimeError, LookupError, ValueError, EOFError, UnpicklingError) as error:
            raise CheckpointError(f"{path} cannot be resumed: {error}. Start a new run, or name another.") from error

    def save(self) -> None:
        """Write the whole state to `run/state.pt`, all of it or nothing."""
        if self.rank:
            return
        state = {
            "model": self.task.module.state_dict(), "optimizer": self.optimizer.state_dict(),
            "ema": self.ema, "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        with atomic_path(self.run / "state.pt") as temporary:
            torch.save(state, temporary)

    def fit(self, until: int | None = None) -> None:
        """Train to `options.steps`, logging to `run/log.jsonl`, and export the averaged weights at the end.

        `until` ends it at an earlier step, in a state that can be resumed.
        """
        last = min(self.options.steps, until or self.options.steps)
        self.run.mkdir(parents=True, exist_ok=True)
        bar = tqdm(total=self.options.steps, initial=self.step, disable=bool(self.rank), unit="step", mininterval=2)
        running: dict[str, float] = {}
        while self.step < last:
            start = time.perf_counter()
            metrics = self._train_step()
            self.seconds += time.perf_counter() - start
            self.step += 1
            self._restart_averages(self.task.after_step(self.step))
            for name, value in metrics.items():
                running[name] = running.get(name, value) * 0.98 + value * 0.02
            bar.update()
            bar.set_postfix({k: f"{v:.3f}" for k, v in running.items()}, refresh=False)
            self._punctuate(metrics, running)
        bar.close()
        self.save()
        self._export()

    def _punctuate(self, metrics: dict[str, float], running: dict[str, float]) -> None:
        if self.step % 20 == 0:
            rounded = {name: round(value, 5) for name, value in running.items()}
            self._log({"step": self.step, "seconds": round(self.seconds, 1), **rounded})
        if self.step % self.options.validate_every == 0:
            self._log({"step": self.step, "validation": self._with_ema(self.task.validate)})
        if self.step % self.options.save_every == 0:
            self.save()
            self._export()

    def _train_step(self) -> dict[str, float]:
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = options.lr_at(self.step)
        metrics: dict[str, float] = {}
        for micro in range(options.accumulate):
            rng = np.random.default_rng([options.seed, self.step, self.rank, micro])
            torch.manual_seed(int(rng.integers(2**62)))
            with self._sync(micro == options.accumulate - 1):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16):
                    losses = self.task.loss(self.model, rng, self.step)
                (losses["total"] / options.accumulate).backward()
            for name, value in losses.items():
                metrics[name] = metrics.get(name, 0.0) + float(value.detach()) / options.accumulate
        norm = nn.utils.clip_grad_norm_(self.task.module.parameters(), options.clip_norm)
        metrics["norm"] = float(norm)
        if torch.isfinite(norm):  # one bad batch must not end a long run
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._average()
        return metrics

    def _sync(self, last: bool) -> Any:
        if isinstance(self.model, nn.parallel.DistributedDataParallel) and not last:
            return self.model.no_sync()
        return torch.enable_grad()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.options.ema_decay, (1 + self.step) / (10 + self.step))
        names, parameters = zip(*self.task.module.named_parameters())
        torch._foreach_lerp_([self.ema[name] for name in names], list(parameters), 1.0 - decay)

    def _restart_averages(self, names: list[str]) -> None:
        parameters = dict(self.task.module.named_parameters())
        for name in names:
            self.ema[name].copy_(parameters[name].detach())

    def _with_ema(self, function: Any) -> Any:
        parameters = dict(self.task.module.named_parameters())
        kept = {name: p.detach().clone() for name, p in parameters.items()}
        self.task.module.eval()
        try:
            with torch.no_grad():
                for name, p in parameters.items():
                    p.copy_(self.ema[name])
                return function()
        finally:
            with torch.no_grad():
                for name, p in parameters.items():
                    p.copy_(kept[name])
            self.task.module.train()

    def _export(self) -> None:
        if not self.rank:
            record = {"steps": self.step, "seconds": round(self.seconds), "processes": self.world}
            self._with_ema(lambda: self.task.export(self.run / "checkpoint", record))

    def _log(self, entry: dict[str, Any]) -> None:
        if not self.rank:
            with open(self.run / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def join_processes() -> tuple[int, int]:
    """Rank and number of processes, as `torchrun` tells; 0 and 1 without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return int(os.environ.get("RANK", "0")), world
