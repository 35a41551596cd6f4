"""The code transformer at work: one model beat of a mix's codes after another."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from melformer.generate.mixes.sampling import MixConfig, sample_step
from melformer.generate.mixes.step_decoder import StepDecoder
from melformer.generate.prompt import Prompt
from melformer.transformer.model import UNKNOWN_BAR_POSITION, BeatTransformer, Conditioning

LEAST_HEARD = 8
"""Model beats that the transformer hears before it composes: a shorter loop is heard several times over, as it would be
played."""


class MixComposer(Iterator[Tensor]):
    """Continues a prompt's codes without end, each beat int64 (n_frames, n_codebooks), a pure function of the seed and
    of its number."""

    @torch.inference_mode()
    def __init__(self, transformer: BeatTransformer, prompt: Prompt, seed: int, config: MixConfig) -> None:
        self.transformer, self.seed, self.config = transformer, seed, config
        self.bar = max(1, round(prompt.beats_per_bar * prompt.model_beats_per_beat))
        self.tempo = torch.tensor([float(np.log2(prompt.model_bpm / 120.0))], device=transformer.device)
        heard = context_codes(prompt)
        self.n_prompt = len(heard)
        positions = torch.tensor([[self._in_bar(i) for i in range(len(heard) + 1)]], device=transformer.device)
        codes = torch.from_numpy(heard)[None].to(transformer.device)
        self.state = transformer.prefill(codes, Conditioning(self.tempo, positions))
        self.decoder = StepDecoder(transformer)

    def _in_bar(self, position: int) -> int:
        """Where in its bar a model beat lies: the prompt ends on a bar line, as loops do."""
        return (position - self.n_prompt) % self.bar if self.bar <= UNKNOWN_BAR_POSITION else UNKNOWN_BAR_POSITION

    @torch.inference_mode()
    def __next__(self) -> Tensor:
        pattern, n_books = self.transformer.pattern, self.transformer.n_codebooks
        rng = np.random.default_rng([self.seed, self.state.position - self.n_prompt])
        draws = rng.random((1, pattern.n_steps, n_books), np.float32)
        steps = np.zeros((1, pattern.n_steps, n_books), np.int64)
        self.decoder.begin(self.state)
        for step in range(pattern.n_steps):
            prediction = self.decoder.step(step, steps[:, step - 1] if step else None)
            first, last = self.decoder.spans[step]
            steps[:, step, first:last] = sample_step(prediction, self.config, draws[:, step, first:last])
        codes = pattern.to_frames(torch.from_numpy(steps))
        place = torch.tensor([[self._in_bar(self.state.position + 1)]], device=self.transformer.device)
        self.transformer.append(self.state, codes.to(self.transformer.device), Conditioning(self.tempo, place))
        return codes[0]


def context_codes(prompt: Prompt) -> np.ndarray:
    """What the transformer hears of a prompt, whole rounds of it: int64 (model beats, frames, n_codebooks)."""
    codes = prompt.codes
    rounds = -(-LEAST_HEARD // len(codes)) if prompt.n_model_beats == len(codes) else 1  # half a beat is no round
    return np.tile(codes, (rounds, 1, 1))
