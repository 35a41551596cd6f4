"""Two designs on the same tokens, for the same time of one core: the shipped one, small, and a flat control.

    python experiments/2026-11-beat-transformer/run.py TOKENS -o RUNS --minutes 8

The time is the processor's, so a busy neighbour does not bend it. What a beat costs is counted in weights that are
read; its milliseconds (one take, memory full) are those of the shipped design's fast path and of the control's plain
layers.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from flat import FlatModule, FlatTask
from melformer.runtime.step_decoder import StepDecoder
from scaling import OPTIONS, curve, task_of

from melformer.config import Config
from melformer.train.tasks.transformer import TransformerTask
from melformer.transformer.model import BeatTransformer, Conditioning

N_TIMED = 20


def main() -> None:
    """Train what has not been trained, then print a line a design."""
    parser = argparse.ArgumentParser(description="The shipped design and a flat control, for the same time of a core.")
    parser.add_argument("tokens", type=Path, metavar="TOKENS", help="a folder of `melformer train tokens`")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/designs"), metavar="RUNS")
    parser.add_argument("--minutes", type=float, default=8.0, help="of one core, for each design (8)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    beats, flat = task_of("middle", args.tokens), FlatTask(Config(), args.tokens, OPTIONS)
    for name, task, cost in (("beats", beats, beat_cost), ("flat", flat, _flat_cost)):
        found = curve(name, task, args.out / name, args.minutes)
        milliseconds, weights = cost(task)
        bits = found["points"][-1]["bits_per_beat"]
        print(f"{name}: {found['n_parameters'] / 1e6:.2f} M parameters, {found['points'][-1]['step']} steps, "
              f"{bits:.0f} bits a beat, {milliseconds:.1f} ms a beat, {weights / 1e6:.1f} M weights read a beat, "
              f"{bits * milliseconds / 1e3:.1f} bits × s")  # fmt: skip


def beat_cost(task: TransformerTask) -> tuple[float, int]:
    """Milliseconds and weights read of one composed beat in the shipped design."""
    transformer: BeatTransformer = task.module.transformer.eval()
    n, shape = transformer.config.context_beats, (transformer.pattern.n_frames, transformer.n_codebooks)
    codes = torch.from_numpy(np.random.default_rng(0).integers(transformer.codebook_size, size=(2, n, *shape)))
    told = Conditioning(torch.zeros(2), torch.zeros(2, n + 1, dtype=torch.int64))
    decoder, next_told = StepDecoder(transformer, 2), Conditioning(torch.zeros(2), torch.zeros(2, 1, dtype=torch.int64))
    with torch.inference_mode():
        state = transformer.prefill(codes, told)

        def beat() -> None:
            decoder.begin(state)
            for step in range(transformer.pattern.n_steps):
                decoder.step(step, codes[:, 0, 0].numpy() if step else None).logits()
            transformer.append(state, codes[:, 0], next_told)

        milliseconds = _median_ms(beat)
    inside = [transformer.codes.weight, *transformer.column.query.parameters(), *transformer.column_out.parameters()]
    inside += [*transformer.steps.parameters(), *transformer.pointer.query.parameters()]
    once = [*transformer.beats.parameters(), *transformer.beat_in.parameters()]
    weights = transformer.pattern.n_steps * sum(p.numel() for p in inside) + sum(p.numel() for p in once)
    return milliseconds, weights


def _flat_cost(task: TransformerTask) -> tuple[float, int]:
    """Milliseconds and weights read of one composed beat in the flat design."""
    assert isinstance(task, FlatTask) and isinstance(task.module, FlatModule)
    flat, draws, stepper = task.module.transformer.eval(), np.random.default_rng(0), task.frame_step(2)
    for _ in range(flat.sizes.context_beats):
        stepper.beat(draws)
    weights = flat.n_frames * sum(p.numel() for p in [flat.codes.weight, *flat.stack.parameters()])
    return _median_ms(lambda: stepper.beat(draws)), weights


def _median_ms(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(N_TIMED):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return 1e3 * float(np.median(seconds))


if __name__ == "__main__":
    main()
