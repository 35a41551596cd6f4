"""Tokens of beats: written once by the frozen codec, then read by the transformer's training."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from melformer.codec.codec import Codec
from melformer.data import BeatDataset, fold_bpm
from melformer.errors import RequestError
from melformer.files import atomic_path


def write_tokens(codec: Codec, cache: Path, out: Path, batch: int = 16, bf16: bool = False) -> None:
    """Encode every loop of a beat cache: one `.npy` a loop, uint16 (n_beats, frames, n_codebooks).

    Loops that are there already are left as they are, so an interrupted run goes on. `bf16` computes the encoder in
    bfloat16, several times faster on processors that multiply it natively. Errors: RequestError.
    """
    out.mkdir(parents=True, exist_ok=True)
    entries = [json.loads(line) for line in (cache / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    if not entries:
        raise RequestError(f"{cache} holds no beats; make some with `melformer train codec` first.")
    codec.eval()
    for entry in tqdm(entries, desc="tokens", unit="loop"):
        path = out / entry["name"]
        if path.exists():
            continue
        beats = np.load(cache / entry["name"], mmap_mode="r", allow_pickle=False)
        codes = []
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            for start in range(0, len(beats), batch):
                part = torch.from_numpy(beats[start : start + batch].astype(np.float32) / 32_767.0)
                latents = codec.encode_latents(part).float()
                with torch.autocast("cpu", enabled=False):
                    codes.append(codec.quantizer.encode(latents))
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, torch.cat(codes).numpy().astype(np.uint16))
    with atomic_path(out / "clips.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


@dataclass(frozen=True)
class TokenBatch:
    """Codes int64 (B, n_beats, frames, n_codebooks), log2(BPM / 120) (B,), bar positions int64 (B, n_beats)."""

    codes: torch.Tensor
    tempo: torch.Tensor
    bar_positions: torch.Tensor


class TokenDataset:
    """Passages of tokens, memory-mapped. Loops shorter than a passage are repeated, as a musician would play them."""

    def __init__(self, folder: Path, held_out: bool) -> None:
        self.beats = BeatDataset(folder, held_out, minimum_beats=2)

    def batch(self, rng: np.random.Generator, size: int, n_beats: int) -> TokenBatch:
        """Random passages of `n_beats` beats each."""
        passages = [self._passage(rng, n_beats) for _ in range(size)]
        codes, tempos, positions = zip(*passages)
        return TokenBatch(
            torch.from_numpy(np.stack(codes).astype(np.int64)), torch.tensor(tempos, dtype=torch.float32),
            torch.from_numpy(np.stack(positions)),
        )  # fmt: skip

    def _passage(self, rng: np.random.Generator, n_beats: int) -> tuple[np.ndarray, float, np.ndarray]:
        entry = self.beats.draw(rng)
        codes = np.load(self.beats.cache / entry["name"], mmap_mode="r", allow_pickle=False)
        folded, factor = fold_bpm(entry["bpm"])
        bar = max(1, round(entry["beats_per_bar"] * factor))
        start = int(rng.integers(max(1, len(codes) - n_beats + 1))) if len(codes) > n_beats else 0
        where = (start + np.arange(n_beats)) % len(codes)
        return codes[where], float(np.log2(folded / 120.0)), where % bar
