"""One training loop for every model: exact resume, any number of processes, a log that is always written."""

import json
import operator
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from melformer.audio.waveform import Waveform
from melformer.files import atomic_folder
from melformer.train.checkpoint import read_state, tidy, told_when_full, unusable, write_state
from melformer.train.distributed import join_processes
from melformer.train.options import TrainOptions
from melformer.train.tracker import Tracker


class Task(Protocol):
    """What the loop needs to know of a model: its loss on one micro-batch, a validation, sounds, a way out."""

    @property
    def module(self) -> nn.Module: ...

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]: ...

    def after_step(self, step: int) -> list[str]:
        """Names of parameters that were moved by hand, so that their averages start anew."""
        ...

    def validate(self) -> dict[str, float]: ...

    def clips(self) -> dict[str, Waveform]:
        """Sounds to listen to, for a tracker."""
        ...

    def export(self, directory: Path, record: dict[str, Any]) -> None: ...


class Trainer:
    """Runs a `Task`; everything it draws is a pure function of (seed, step, rank, micro-batch)."""

    def __init__(self, task: Task, options: TrainOptions, run: Path) -> None:
        self.task, self.options, self.run = task, options, run
        self.rank, self.world = join_processes()
        self.device = next(task.module.parameters()).device
        self.model: nn.Module = task.module
        if self.world > 1:
            cards = [self.device] if self.device.type == "cuda" else None
            self.model = nn.parallel.DistributedDataParallel(task.module, cards, gradient_as_bucket_view=True)
        self.optimizer = torch.optim.AdamW(
            task.module.parameters(), lr=options.lr, betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay, fused=True,
        )  # fmt: skip
        self.ema = {name: p.detach().clone() for name, p in task.module.named_parameters()}
        self.step, self.seconds, self.kept_step = 0, 0.0, 0
        self.running: dict[str, float] = {}  # losses, smoothed
        self.validation: dict[str, float] = {}  # the last one
        self.tracker: Tracker | None = None

    def resume(self) -> None:
        """Go on from `run/state.pt`. Errors: CheckpointError when it is missing or damaged."""
        path = self.run / "state.pt"
        state = read_state(path)
        try:
            self.task.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, average in self.ema.items():
                average.copy_(state["ema"][name])
            self._check_moments()
            self.step, self.seconds = operator.index(state["step"]), float(state["seconds"])
            self.running, self.validation = (_numbers(state.get(name, {})) for name in ("running", "validation"))
            if not 0 <= self.step <= self.options.steps:
                raise ValueError(f"it stands at step {self.step:,} of {self.options.steps:,}")
        except (LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise unusable(path, error) from error
        self.kept_step = self.step

    def _check_moments(self) -> None:
        """AdamW takes whatever it is given and fails a step later. Errors: ValueError."""
        for parameter, moments in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != parameter.shape:
                    raise ValueError(f"the optimizer's {name} has the shape {list(moments[name].shape)}")

    def save(self) -> None:
        """Write the whole state to `run/state.pt`, all of it or nothing."""
        if self.rank:
            return
        state = {
            "model": self.task.module.state_dict(), "optimizer": self.optimizer.state_dict(),
            "ema": self.ema, "step": self.step, "seconds": self.seconds, "running": self.running,
            "validation": self.validation,
        }  # fmt: skip
        write_state(self.run / "state.pt", state)
        self.kept_step = self.step

    def fit(self, until: int | None = None) -> None:
        """Train to `options.steps`, logging to `run/log.jsonl`, and export the averaged weights at the end.

        `until` ends it at an earlier step, in a state that can be resumed. Errors: CheckpointError on a full disk.
        """
        last = min(self.options.steps, until or self.options.steps)
        self.run.mkdir(parents=True, exist_ok=True)
        if not self.rank:
            tidy(self.run, self.step)
            self.tracker = Tracker(self.run / "track", self.step) if self.options.track else None
        steps, is_hidden = self.options.steps, bool(self.rank)
        with tqdm(total=steps, initial=self.step, disable=is_hidden, unit="step", mininterval=2) as bar:
            while self.step < last:
                start = time.perf_counter()
                metrics = self._train_step()
                self.seconds += time.perf_counter() - start
                self.step += 1
                self._restart_averages(self.task.after_step(self.step))
                for name, value in metrics.items():
                    self.running[name] = self.running.get(name, value) * 0.98 + value * 0.02
                bar.update()
                bar.set_postfix({k: f"{v:.3f}" for k, v in self.running.items()}, refresh=False)
                with told_when_full(self.run, self.kept_step):
                    self._punctuate(self.step == last)
        if self.kept_step == last:  # also where the last process was killed between the state and the checkpoint
            with told_when_full(self.run, self.kept_step):
                self._export()
        if self.tracker:
            self.tracker.close()

    def _punctuate(self, is_last: bool) -> None:
        if self.step % 20 == 0:
            rounded = {name: round(value, 5) for name, value in self.running.items()}
            self._log({"step": self.step, "seconds": round(self.seconds, 1), **rounded}, "train", rounded)
        if self.step % self.options.validate_every == 0:
            self.validation = self._with_ema(self.task.validate)
            self._log({"step": self.step, "validation": self.validation}, "validation", self.validation)
            if self.tracker:
                self.tracker.clips(self.step, self._with_ema(self.task.clips))
        if self.step % self.options.save_every == 0 or is_last:
            self.save()
            if not is_last:
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
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=options.bf16):
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
        """Call `function` while the averages stand where the weights are, without a copy of either."""
        self._swap_averages()
        self.task.module.eval()
        try:
            return function()
        finally:
            self._swap_averages()
            self.task.module.train()

    def _swap_averages(self) -> None:
        for name, p in self.task.module.named_parameters():
            p.data, self.ema[name] = self.ema[name], p.data

    def _export(self) -> None:
        if not self.rank:
            record: dict[str, Any] = {"steps": self.step, "seconds": round(self.seconds), "processes": self.world}
            record["validation"] = self.validation
            with atomic_folder(self.run / "checkpoint") as folder:
                self._with_ema(lambda: self.task.export(folder, record))

    def _log(self, entry: dict[str, Any], group: str, values: dict[str, float]) -> None:
        if self.rank:
            return
        with open(self.run / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self.tracker:
            self.tracker.numbers(self.step, group, values)


def _numbers(values: Any) -> dict[str, float]:
    """Losses by name. Errors: TypeError, ValueError."""
    if not isinstance(values, dict):
        raise TypeError(f"its losses are a {type(values).__name__}")
    return {str(name): float(value) for name, value in values.items()}
