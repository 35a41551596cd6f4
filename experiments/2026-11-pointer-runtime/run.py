"""One step of the pointer's stack and one choice of a stem: torch as it is, torch.compile-free, against ONNX Runtime.

    pip install onnxruntime onnx onnxscript      # into an environment beside the package
    python run.py [-o results.json]

Both parts are exported with their inputs fixed in shape: four takes, a prompt of 32 units, a window of 256. Times are
medians of 300 calls on one thread; the two ways alternate.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from melformer.evaluate.results import write_results
from melformer.hub.parts import load_pointer
from melformer.hub.remote import EMBEDDED
from melformer.transformer.pointer import N_RELATIONS, Pointer, UnitMemory
from melformer.transformer.rope import rotate, rotation_at

BATCH, N_UNITS, REPEATS = 4, 32, 300


class StackStep(nn.Module):
    """`TransformerStack.step` without side effects: caches go in and come out."""

    def __init__(self, pointer: Pointer) -> None:
        super().__init__()
        self.stack = pointer.stack

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, here: Tensor, held: Tensor, *caches: Tensor) -> Any:
        """`here` and `held` (window,) mark the slot that is written and those that are seen."""
        updated = []
        for i, block in enumerate(self.stack.blocks):
            heads = block.attention
            projected = heads.project_in(block.attention_norm(hidden)).unflatten(-1, (-1, heads.head_dim))
            parts = projected.transpose(1, 2).split([heads.n_heads, heads.n_kv_heads, heads.n_kv_heads], dim=1)
            queries, new_keys = rotate(parts[0], cos, sin), rotate(parts[1], cos, sin)
            keys = torch.where(here[:, None], new_keys, caches[2 * i])
            values = torch.where(here[:, None], parts[2], caches[2 * i + 1])
            groups = queries.unflatten(1, (heads.n_kv_heads, -1)).squeeze(3)
            weights = groups @ keys.transpose(2, 3) / heads.head_dim**0.5
            mixed = weights.masked_fill(~held, -1e9).softmax(dim=-1) @ values
            hidden = hidden + heads.project_out(mixed.flatten(1)[:, None])
            hidden = hidden + block.mlp(block.mlp_norm(hidden))
            updated += [keys, values]
        return (self.stack.norm(hidden), *updated)


class StemScores(nn.Module):
    """`Pointer.source_scores` of one stem."""

    def __init__(self, pointer: Pointer, stem: int) -> None:
        super().__init__()
        self.pointer, self.stem = pointer, stem

    def forward(self, queries: Tensor, keys: Tensor, related: Tensor) -> tuple[Tensor, Tensor]:
        memory = UnitMemory(torch.tensor([N_UNITS]), torch.tensor([8]), related[:, 0], related, related, related, keys)
        return self.pointer.source_scores(self.stem, queries, memory, related)


def seconds_of(calls: dict[str, Any]) -> dict[str, float]:
    """Median seconds of each call; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begun)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def session_of(module: nn.Module, inputs: tuple[Tensor, ...], folder: Path) -> tuple[Any, dict[str, np.ndarray], float]:
    """The module in ONNX Runtime, its inputs, and the seconds that the export took."""
    begun, path = time.perf_counter(), folder / "part.onnx"
    torch.onnx.export(module, inputs, str(path), dynamo=True, external_data=False, verbose=False)
    exported = time.perf_counter() - begun
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session, dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True)), exported


def compared(module: nn.Module, inputs: tuple[Tensor, ...], eager: Callable[[], Any] | None) -> dict[str, float]:
    """Milliseconds of both ways, seconds of the export, and how far the results are apart."""
    with tempfile.TemporaryDirectory() as folder:
        session, given, exported = session_of(module, inputs, Path(folder))
        apart = float(np.abs(session.run(None, given)[0] - module(*inputs)[0].numpy()).max())
        times = seconds_of({"torch": eager or (lambda: module(*inputs)), "onnx": lambda: session.run(None, given)})
    return {**{f"{way}_ms": 1e3 * seconds for way, seconds in times.items()}, "export_s": exported, "apart": apart}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pointer = load_pointer(EMBEDDED).eval()
    config, window = pointer.config, pointer.stack.window
    position, hidden = 100, torch.randn(BATCH, 1, config.dim)
    cos, sin = rotation_at(position, pointer.stack.head_dim, 10_000.0, hidden.device)
    slots = torch.arange(window)
    caches = [torch.randn(BATCH, config.n_kv_heads, window, pointer.stack.head_dim) for _ in range(2 * config.n_layers)]
    step_inputs = (hidden, cos, sin, slots == position, slots <= position, *caches)
    scores_inputs = (
        hidden,
        torch.randn(BATCH, 3, N_UNITS, config.key_dim),
        torch.randn(BATCH, 1, N_UNITS, N_RELATIONS),
    )
    own = pointer.stack.empty_caches(BATCH)
    parts: dict[str, tuple[nn.Module, tuple[Tensor, ...], Callable[[], Any] | None]] = {
        "a step of the stack": (StackStep(pointer), step_inputs, lambda: pointer.stack.step(hidden, position, own)),
        "scores of a stem": (StemScores(pointer, 2), scores_inputs, None),
    }
    found = {name: compared(module.eval(), inputs, eager) for name, (module, inputs, eager) in parts.items()}
    print(json.dumps(found, indent=1))
    if options.output:
        write_results(options.output, "python experiments/2026-11-pointer-runtime/run.py", found)


if __name__ == "__main__":
    main()
