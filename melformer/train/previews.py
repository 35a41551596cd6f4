"""Sounds of a training, for those who follow it: what a codec makes of held-out loops, how a transformer goes on."""

import copy

import torch

from melformer.audio.grid import beats_per_second, bpm_of, model_tempo
from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.codec.losses import REFERENCE_BPM
from melformer.config import Config
from melformer.data.token_dataset import TokenDataset, loop_codes
from melformer.generate import Melformer
from melformer.generate.mixes.continue_mix import continue_mix
from melformer.transformer.model import BeatTransformer

N_CLIPS, PROMPT_BEATS, NEW_BEATS = 2, 16, 8


@torch.inference_mode()
def decoded(codec: Codec, crops: torch.Tensor) -> dict[str, Waveform]:
    """Crops (B, n_beats, work samples) and what the codec makes of them, as heard at 120 BPM."""
    rate = round(codec.config.samples_per_beat * beats_per_second(REFERENCE_BPM))
    samples = codec(crops).samples
    delay = codec.decoder.delay_samples
    pairs = {"decoded": samples[:, delay:], "loop": crops.flatten(1)[:, :-delay]}
    return {
        f"held out {i}/{name}": Waveform(sound[i].float().cpu().numpy(), rate)
        for name, sound in pairs.items() for i in range(len(crops))
    }  # fmt: skip


def continued(
    config: Config, codec: Codec, transformer: BeatTransformer, held_out: TokenDataset
) -> dict[str, Waveform]:
    """Held-out loops, decoded, and eight model beats that the transformer puts behind them, always from seed 0."""
    model = Melformer(config).eval()
    model.codec, model.transformer = codec, copy.deepcopy(transformer).cpu().eval()
    sounds = {}
    for i, entry in enumerate(held_out.beats.entries[:N_CLIPS]):
        bpm, factor = model_tempo(entry["bpm"])
        rate = round(codec.config.samples_per_beat * beats_per_second(bpm))
        codes = loop_codes(held_out.beats.cache, entry)[:PROMPT_BEATS]
        loop = Waveform(codec.decode_loop(torch.from_numpy(codes.astype("int64"))).numpy(), rate)
        bpm = bpm_of(rate, codec.config.samples_per_beat)
        bar = max(1, round(entry["beats_per_bar"] * factor))
        prompt = model.prompt(loop, bpm=bpm, start_s=0.0, beats_per_bar=bar)
        sounds[f"held out {i}/continued"] = continue_mix(model, prompt, NEW_BEATS).waveform
    return sounds
