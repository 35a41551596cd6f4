"""Training the scorer of sources: which prompt beat, and which band of it, sounds as the new codes say.

Long loops are cut in two, prompt and true continuation (`melformer.data.source_pairs`), and how far every prompt
beat's sound and the decoder's are from the truth is measured per frame and band. The scorer learns to predict these
distances from codes alone, and to put its trust where the expected distance is least (mixing sounds softly instead
collapses to "always generate"). The codec stays as it is, so the transformer need not be trained again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.codec.source_scorer import RECENT_BEATS, PromptFeatures, SourceScorer
from melformer.data.source_pairs import Pair
from melformer.errors import RequestError
from melformer.train.distributed import training_device
from melformer.train.options import TrainOptions

PRIOR = 0.03
"""How strongly the reader of levels is held back, in units of the latents' own variance."""
HELD_OUT_EVERY = 8
"""One of so many pairs is not learned from; it measures what was learned."""

Write = Callable[[Path, Codec, dict[str, Any]], None]


@dataclass(frozen=True)
class Lesson:
    """A pair as the scorer sees it: new codes against a recorded prompt, and the distances to be predicted.

    `latents` (N, F, dim), `codes` (N, F, n_codebooks), `distances` (N, P) of `SourceScorer`, `copy` (N, F, P, n_bands)
    and `decoder` (N, F, n_bands): the true distances in log10 of the level.
    """

    prompt: PromptFeatures
    latents: Tensor
    codes: Tensor
    distances: Tensor
    copy: Tensor
    decoder: Tensor

    def to(self, device: torch.device) -> "Lesson":
        return Lesson(self.prompt.to(device), *(part.to(device) for part in (
            self.latents, self.codes, self.distances, self.copy, self.decoder)))  # fmt: skip


class ScorerModule(nn.Module):
    """What is trained: the scorer, and how sharply its distances are told apart."""

    def __init__(self, scorer: SourceScorer) -> None:
        super().__init__()
        self.scorer = scorer
        self.scorer.reader.requires_grad_(False)
        self.log_sharpness = nn.Parameter(torch.tensor(3.0))

    def forward(self, lesson: Lesson, beats: Sequence[int]) -> dict[str, Tensor]:
        """Means over some of a pair's beats: the expected distance under the scores, of bands and of whole frames,
        and how wrong the predicted distances are, for copies and for the decoder."""
        parts = [self._of_beat(lesson, beat) for beat in beats]
        losses = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return losses | {"total": torch.stack(list(losses.values())).sum()}

    def _of_beat(self, lesson: Lesson, beat: int) -> dict[str, Tensor]:
        recent = lesson.distances[max(0, beat - RECENT_BEATS) : beat]
        position, sharpness = lesson.distances.shape[1] + beat, self.log_sharpness.exp()
        copy, decoder, _ = self.scorer(lesson.prompt, lesson.latents[beat], lesson.codes[beat], position, recent)
        predicted = torch.cat([copy, decoder[:, None]], dim=1)
        true = torch.cat([lesson.copy[beat], lesson.decoder[beat][:, None]], dim=1)
        bands = (torch.softmax(-predicted * sharpness, dim=1) * true).sum(dim=1)
        whole = (torch.softmax(-predicted.mean(dim=2) * 2.0 * sharpness, dim=1) * true.mean(dim=2)).sum(dim=1)
        return {
            "bands": bands.mean(), "frames": whole.mean(),
            "copy": F.smooth_l1_loss(copy, lesson.copy[beat], beta=0.1),
            "decoder": F.smooth_l1_loss(decoder, lesson.decoder[beat], beta=0.1),
        }  # fmt: skip


class ScorerTask:
    """Predict the distances of `batch_size` beats of a random pair; see `melformer.train.trainer.Task`."""

    def __init__(self, codec: Codec, pairs: Sequence[Pair], options: TrainOptions, write: Write) -> None:
        """`write` puts the codec with its new scorer into a folder. Errors: RequestError for fewer than two pairs,
        since one is held out."""
        if len(pairs) < 2:
            raise RequestError(f"{len(pairs)} loop is too few to train a scorer of sources; give at least 2.")
        torch.manual_seed(options.seed)
        self.codec, self.options, self.write = codec, options, write
        config = codec.config
        scorer = SourceScorer(
            config.latent_dim, config.n_source_bands, config.source_dim, codec.quantizer.partials,
            config.samples_per_beat,
        )  # fmt: skip
        every, device = min(HELD_OUT_EVERY, len(pairs)), training_device()
        learned = [pair for i, pair in enumerate(pairs, 1) if i % every]
        with torch.no_grad():
            fit_reader(scorer, codec, learned)
            self.lessons = [make_lesson(scorer, codec, pair).to(device) for pair in learned]
            self.held_out = [make_lesson(scorer, codec, pair).to(device) for pair in pairs[every - 1 :: every]]
        self.module = ScorerModule(scorer).to(device)

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        lesson = self.lessons[rng.integers(len(self.lessons))]
        n_beats = len(lesson.latents)
        beats = rng.choice(n_beats, min(self.options.batch_size, n_beats), replace=False)
        return model(lesson, beats.tolist())

    def after_step(self, step: int) -> list[str]:
        """Nothing is moved by hand."""
        return []

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """The losses of the held-out pairs, all beats."""
        found = [self.module(lesson, range(len(lesson.latents))) for lesson in self.held_out]
        return {name: round(float(np.mean([float(one[name]) for one in found])), 4) for name in found[0]}

    def clips(self) -> dict[str, Waveform]:
        """None: a scorer has no sound of its own."""
        return {}

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """The codec with this scorer, as `write` puts it down."""
        self.codec.scorer.load_state_dict(self.module.scorer.state_dict())
        self.write(directory, self.codec, record)


def fit_reader(scorer: SourceScorer, codec: Codec, pairs: Sequence[Pair]) -> None:
    """Set the reader by ridge regression: the levels of every beat from its own and its neighbours' latents."""
    inputs, levels = [], []
    for pair in pairs:
        for codes, sound in ((pair.prompt_codes, pair.prompt), (pair.codes, pair.truth)):
            around = F.pad(codec.quantizer.colours(codes), (0, 0, 1, 1))
            inputs.append(torch.cat([around[:, :-2], around[:, 1:-1], around[:, 2:]], dim=-1).flatten(0, 1))
            levels.append(sound.levels())
    x, y = torch.cat(inputs).double(), torch.cat(levels).double()
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    x = x - mean_x
    ridge = PRIOR * len(x) * x.square().mean() * torch.eye(x.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(x.T @ x + ridge, x.T @ (y - mean_y))
    scorer.reader.weight.copy_(weight.T)
    scorer.reader.bias.copy_(mean_y - mean_x @ weight)


def make_lesson(scorer: SourceScorer, codec: Codec, pair: Pair) -> Lesson:
    """Everything about a pair that does not change while the scorer learns."""
    n_frames = pair.codes.shape[1]
    latents, prompt_latents = (codec.quantizer.colours(codes) for codes in (pair.codes, pair.prompt_codes))
    heard = pair.prompt.levels().unflatten(0, (-1, n_frames))
    prompt = scorer.record(prompt_latents, pair.prompt_codes, heard)
    distances = torch.stack([(prompt.latents - new).square().sum(dim=-1).mean(dim=1) for new in latents])
    copy = [pair.truth.distance(pair.prompt.beat(j, n_frames), n_frames) for j in range(len(prompt_latents))]
    decoder = pair.truth.distance(pair.decoded, n_frames)
    return Lesson(prompt, latents, pair.codes, distances / prompt.variance, torch.stack(copy, dim=2), decoder)
