"""What is measured: Melformer, and peers of their published sizes with random weights.

Speed and memory do not depend on the values of the weights, so nothing is downloaded; what a peer would *sound* like
cannot be judged here. Sizes: facebook/musicgen-small's decoder is `MusicgenDecoderConfig()` (24 layers, 1,024 wide,
16 heads: transformers' convert_musicgen_transformers.py, "small"), its text encoder google-t5/t5-base, its codec
facebook/encodec_32khz; facebook/encodec_24khz, kyutai/mimi and descript/dac_44khz are their classes' defaults.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

BPM, PROMPT_BEATS = 120.0, 16
T5_BASE = {"d_model": 768, "d_ff": 3_072, "num_layers": 12, "num_heads": 12, "vocab_size": 32_128}
ENCODEC_32KHZ = {
    "sampling_rate": 32_000, "num_filters": 64, "codebook_size": 2_048, "upsampling_ratios": [8, 5, 4, 4],
    "target_bandwidths": [2.2], "use_causal_conv": False, "use_conv_shortcut": False,
}  # fmt: skip
N_DELAYED = 3  # frames by which MusicGen's last codebook lags behind its first
TEXT_TOKENS = 12  # a short description; its length hardly matters

Job = Callable[[], dict[str, float]]
"""One measurement: does the work once and gives seconds by name."""


def timed(work: Callable[[], Any], name: str) -> dict[str, float]:
    start = time.perf_counter()
    work()
    return {name: time.perf_counter() - start}


class Melformer:
    """The embedded checkpoint through its public interface, as `melformer continue` uses it."""

    def __init__(self, n_beats: int) -> None:
        from melformer import Melformer as Model
        from melformer.bench import loop_at

        self.model, self.n_beats = Model.from_pretrained(), n_beats
        self.loop = loop_at(BPM, PROMPT_BEATS)
        self.prompt = self.model.prompt(self.loop, bpm=BPM, start_s=0.0)

    def jobs(self) -> dict[str, Job]:
        model, prompt = self.model, self.prompt
        return {
            "continue": self._continue,
            "continue 4": lambda: timed(self._takes, "all_s"),
            "encode": lambda: timed(lambda: model.encode(self.loop, BPM), "all_s"),
            "decode": lambda: timed(lambda: model.decode_codes(prompt, prompt.codes), "all_s"),
        }

    def weights(self) -> tuple[int, float]:
        from melformer.hub import find_bundle

        folder, _ = find_bundle(None)
        size = (folder / "model.safetensors").stat().st_size
        return sum(p.numel() for p in self.model.parameters()), size / 1e6

    def _continue(self) -> dict[str, float]:
        start = time.perf_counter()
        stream = self.model.stream(self.loop, self.n_beats, bpm=BPM, start_s=0.0)
        next(stream)
        first_s = time.perf_counter() - start
        for _ in stream:
            pass
        return {"first_s": first_s, "all_s": time.perf_counter() - start}

    def _takes(self) -> None:
        self.model.generate(self.loop, self.n_beats, seeds=[0, 1, 2, 3], bpm=BPM, start_s=0.0)


class Peer:
    """A model of `transformers`, random weights, float32, evaluation mode."""

    def __init__(self, model: Any, sample_rate: int) -> None:
        import torch

        self.model, self.sample_rate = model.eval(), sample_rate
        n_samples = round(PROMPT_BEATS * 60.0 / BPM * sample_rate)
        noise = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
        self.audio = torch.from_numpy(0.1 * noise)[None, None]

    def weights(self) -> tuple[int, float]:
        """Parameters, and their size in MB as float32, which is how these models are published."""
        n = sum(p.numel() for p in self.model.parameters())
        return n, 4e-6 * n


class PeerCodec(Peer):
    """Encodes and decodes as much audio as the prompt has, at the codec's own rate."""

    def __init__(self, model: Any, sample_rate: int, bandwidth: float | None = None) -> None:
        super().__init__(model, sample_rate)
        self.options = {} if bandwidth is None else {"bandwidth": bandwidth}
        self.codes = self._encode()

    def jobs(self) -> dict[str, Job]:
        return {
            "encode": lambda: timed(self._encode, "all_s"),
            "decode": lambda: timed(self._decode, "all_s"),
        }

    def _encode(self) -> Any:
        import torch

        with torch.inference_mode():
            return self.model.encode(self.audio, **self.options)

    def _decode(self) -> Any:
        import torch

        scales = {"audio_scales": self.codes.audio_scales} if hasattr(self.codes, "audio_scales") else {}
        with torch.inference_mode():
            return self.model.decode(audio_codes=self.codes.audio_codes, **scales)


class MusicGen(Peer):
    """Continues the prompt with the published settings: sampling, classifier-free guidance 3."""

    def __init__(self, n_beats: int) -> None:
        from transformers import (
            EncodecConfig,
            MusicgenConfig,
            MusicgenDecoderConfig,
            MusicgenForConditionalGeneration,
            T5Config,
        )

        config = MusicgenConfig(
            text_encoder=T5Config(**T5_BASE).to_dict(), audio_encoder=EncodecConfig(**ENCODEC_32KHZ).to_dict(),
            decoder=MusicgenDecoderConfig().to_dict(),
        )  # fmt: skip
        super().__init__(MusicgenForConditionalGeneration(config), 32_000)
        self.n_beats = n_beats

    def jobs(self) -> dict[str, Job]:
        return {
            "first beat": lambda: timed(lambda: self._generate(1, 1), "all_s"),
            "continue": lambda: timed(lambda: self._generate(self.n_beats, 1), "all_s"),
            "continue 4": lambda: timed(lambda: self._generate(self.n_beats, 4), "all_s"),
        }

    def _generate(self, n_beats: int, batch: int) -> None:
        import torch

        n_frames = round(n_beats * 60.0 / BPM * self.model.config.audio_encoder.frame_rate)
        text = torch.randint(1, 1_000, (1, TEXT_TOKENS)).expand(batch, -1)
        audio = self.model.generate(
            input_ids=text, attention_mask=torch.ones_like(text), input_values=self.audio.expand(batch, -1, -1),
            do_sample=True, guidance_scale=3.0, max_new_tokens=n_frames + N_DELAYED, pad_token_id=2_048,
            decoder_start_token_id=2_048,
        )  # fmt: skip
        wanted = self.audio.shape[-1] + n_frames * 640
        assert abs(audio.shape[-1] - wanted) <= 4 * 640, (audio.shape, wanted)


def build(name: str, n_beats: int) -> Any:
    """A system by the name of the report's row."""
    if name == "Melformer":
        return Melformer(n_beats)
    if name == "MusicGen-small":
        return MusicGen(n_beats)
    import transformers as t

    if name == "EnCodec 32 kHz":
        return PeerCodec(t.EncodecModel(t.EncodecConfig(**ENCODEC_32KHZ)), 32_000)
    if name == "EnCodec 24 kHz":
        return PeerCodec(t.EncodecModel(t.EncodecConfig()), 24_000, bandwidth=6.0)
    if name == "DAC 44 kHz":
        return PeerCodec(t.DacModel(t.DacConfig(sampling_rate=44_100)), 44_100)
    if name == "Mimi":
        return PeerCodec(t.MimiModel(t.MimiConfig()), 24_000)
    raise ValueError(f"no system is called {name!r}")


NAMES = ("Melformer", "MusicGen-small", "EnCodec 32 kHz", "EnCodec 24 kHz", "DAC 44 kHz", "Mimi")
