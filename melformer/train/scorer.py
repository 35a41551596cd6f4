"""Train the scorer of sources: which prompt beat, and which band of it, sounds as the new codes say.

    python -m melformer.train.scorer LOOPS MODEL [--loops 160] [--steps 2400] [--cache DIR]

cuts long loops in two, prompt and true continuation, breaks the continuation's perfection (gain, drift, noise, tone,
another loop), and measures how far every prompt beat's sound and the decoder's are from it, per frame and band. The
scorer learns to say these distances from codes alone, and to put its trust where the expected distance is least
(mixing sounds softly instead collapses to "always generate"). MODEL is rewritten with the scorer; its encoder, codes
and decoder stay as they are, so nothing else needs training again.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm, trange

from melformer.codec.codec import Codec
from melformer.codec.source_scorer import RECENT_BEATS, PromptFeatures, SourceScorer
from melformer.data.beat_dataset import find_clips, load_clip
from melformer.data.source_pairs import LOOP_BEATS, Pair, make_pair
from melformer.errors import MelformerError, RequestError
from melformer.hub import load_bundle, save_bundle
from melformer.hub.bundle import CARD_FILE

N_BANDS, DIM = 24, 24
PRIOR = 0.03
"""How strongly the reader of levels is held back, in units of the latents' own variance."""


@dataclass(frozen=True)
class Lesson:
    """A pair as the scorer sees it: new codes against a recorded prompt, and the distances to be said.

    `latents` (N, F, dim), `codes` (N, F, n_codebooks), `distances` (N, P) of `SourceScorer`, `copy` (N, F, P, n_bands)
    and `decoder` (N, F, n_bands): the true distances in log10 of the level.
    """

    prompt: PromptFeatures
    latents: Tensor
    codes: Tensor
    distances: Tensor
    copy: Tensor
    decoder: Tensor


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


def lesson(scorer: SourceScorer, codec: Codec, pair: Pair) -> Lesson:
    """Everything about a pair that does not change while the scorer learns."""
    n_frames = pair.codes.shape[1]
    latents, prompt_latents = (codec.quantizer.colours(codes) for codes in (pair.codes, pair.prompt_codes))
    heard = pair.prompt.levels().unflatten(0, (-1, n_frames))
    prompt = scorer.record(prompt_latents, pair.prompt_codes, heard)
    distances = torch.stack([(prompt.latents - new).square().sum(dim=-1).mean(dim=1) for new in latents])
    copy = [pair.truth.distance(pair.prompt.beat(j, n_frames), n_frames) for j in range(len(prompt_latents))]
    decoder = pair.truth.distance(pair.decoded, n_frames)
    return Lesson(prompt, latents, pair.codes, distances / prompt.variance, torch.stack(copy, dim=2), decoder)


def loss(scorer: SourceScorer, lesson: Lesson, beat: int, sharpness: Tensor) -> Tensor:
    """Expected distance under the scores, of bands and of whole frames, and how wrong the said distances are."""
    recent = lesson.distances[max(0, beat - RECENT_BEATS) : beat]
    position = lesson.distances.shape[1] + beat
    copy, decoder, _ = scorer(lesson.prompt, lesson.latents[beat], lesson.codes[beat], position, recent)
    said = torch.cat([copy, decoder[:, None]], dim=1)
    true = torch.cat([lesson.copy[beat], lesson.decoder[beat][:, None]], dim=1)
    bands = (torch.softmax(-said * sharpness, dim=1) * true).sum(dim=1).mean()
    frames = (torch.softmax(-said.mean(dim=2) * 2.0 * sharpness, dim=1) * true.mean(dim=2)).sum(dim=1).mean()
    wrong = F.smooth_l1_loss(copy, lesson.copy[beat], beta=0.1)
    return bands + frames + wrong + F.smooth_l1_loss(decoder, lesson.decoder[beat], beta=0.1)


def train_scorer(codec: Codec, pairs: Sequence[Pair], steps: int, seed: int = 0, dim: int = DIM) -> SourceScorer:
    """A scorer for this codec, trained on pairs; two beats of one pair a step."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sizes = (codec.config.latent_dim, pairs[0].n_bands, dim)
    scorer = SourceScorer(*sizes, codec.quantizer.partials, codec.config.work_samples_per_beat)
    with torch.no_grad():
        fit_reader(scorer, codec, pairs)
        lessons = [lesson(scorer, codec, pair) for pair in pairs]
    scorer.reader.requires_grad_(False)
    log_sharpness = torch.nn.Parameter(torch.tensor(3.0))
    learning = [parameter for parameter in scorer.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam([*learning, log_sharpness], 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 1e-4)
    for _ in trange(steps, desc="scorer", unit="step"):
        drawn = lessons[rng.integers(len(lessons))]
        beats = rng.choice(len(drawn.latents), min(2, len(drawn.latents)), replace=False)
        total = torch.stack([loss(scorer, drawn, int(beat), log_sharpness.exp()) for beat in beats]).mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    return scorer.eval()


def gather(codec: Codec, folder: Path, n_loops: int, cache: Path | None, seed: int = 0) -> list[Pair]:
    """Pairs from the long loops of a folder, read from `cache` where they stand there already.

    Errors: RequestError when no loop is long enough.
    """
    rng = np.random.default_rng(seed)
    clips = find_clips(folder)
    pairs: list[Pair] = []
    for index in tqdm(rng.permutation(len(clips)).tolist(), desc="loops cut in two", unit="loop"):
        if len(pairs) == n_loops:
            break
        path = None if cache is None else cache / f"{clips[index].path.stem}.npz"
        if path is not None and path.exists():
            pairs.append(Pair.load(path))
            continue
        try:
            waveform, bpm = load_clip(clips[index])
            other, _ = load_clip(clips[int(rng.integers(len(clips)))])
        except MelformerError:
            continue  # a file that cannot be read teaches nothing
        if round(waveform.duration_s * bpm / 60.0) >= LOOP_BEATS:
            pairs.append(make_pair(codec, waveform, bpm, other, N_BANDS, np.random.default_rng([seed, index])))
            if path is not None:
                pairs[-1].save(path)
    if not pairs:
        raise RequestError(f"{folder} has no loop of {LOOP_BEATS} beats or more to cut in two; give longer ones.")
    return pairs


def main() -> None:
    """Train a scorer and put it into a model's folder."""
    parser = argparse.ArgumentParser(description="Train the scorer of sources and put it into a model.")
    parser.add_argument("loops", type=Path, help="a folder of long loops, as `melformer corpus build` writes")
    parser.add_argument("model", type=Path, help="the model's folder; it is rewritten")
    parser.add_argument("--loops", dest="n_loops", type=int, default=160, metavar="N", help="how many loops to use")
    parser.add_argument("--steps", type=int, default=2_400)
    parser.add_argument("--cache", type=Path, help="a folder that keeps what is measured of each loop")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(args.model)
    bare = {name: tensor for name, tensor in bundle.tensors.items() if not name.startswith("codec.scorer.")}
    codec = Codec(replace(bundle.config.codec, n_source_bands=0))
    state = {name.removeprefix("codec."): t for name, t in bare.items() if name.startswith("codec.")}
    codec.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in state.items()})
    scorer = train_scorer(codec.eval(), gather(codec, args.loops, args.n_loops, args.cache), args.steps)
    config = replace(bundle.config, codec=replace(codec.config, n_source_bands=N_BANDS, source_dim=DIM))
    weights = {f"codec.scorer.{name}": tensor.half() for name, tensor in scorer.state_dict().items()}
    save_bundle(args.model, config, bare | weights, (args.model / CARD_FILE).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
