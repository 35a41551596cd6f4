"""The separator in training: mixes whose stems add up, a run that resumes bit for bit, a file that separates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import arguments

from melformer.audio.io import Waveform, read_waveform
from melformer.corpus import build
from melformer.errors import RequestError
from melformer.hub.parts import load_separator
from melformer.stems.features import N_BANDS, pool
from melformer.stems.grid_stft import FRAMES_PER_BEAT
from melformer.stems.separate import separate
from melformer.train import run
from melformer.train.tasks.separator import CROP_BEATS, _improvement, _losses, draw_mix, gather


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages")
    build(folder, 0.008, 3, long=0.0, stems=True)
    return folder


def test_stems_are_kept_in_sixteen_bits(passages: Path, tmp_path: Path) -> None:
    clips = gather([passages], tmp_path)
    assert clips and all(clip.samples.dtype == np.int16 and clip.samples.shape[:2] == (3, 2) for clip in clips)
    mix = read_waveform(sorted(passages.glob("*.flac"))[0]).samples
    middles = [clip.samples[:, 0].sum(axis=0, dtype=np.float64) / 32_767 for clip in clips]
    nearest = min(np.abs(m - mix.mean(axis=1)).max() for m in middles if len(m) == len(mix))
    assert nearest < 4 / 32_767  # the FLAC's rounding and three of our own


def test_a_drawn_mix_is_the_same_for_the_same_numbers(passages: Path, tmp_path: Path) -> None:
    clips = gather([passages], tmp_path)
    one, other = (draw_mix(clips, np.random.default_rng(5)) for _ in range(2))
    assert one.shape == (3, 2, CROP_BEATS * FRAMES_PER_BEAT, 2_049) and np.array_equal(one, other)
    assert not np.array_equal(one, draw_mix(clips, np.random.default_rng(6)))


def test_middle_and_side_are_learned_apart(passages: Path, tmp_path: Path) -> None:
    """Masks that are right in the middle and wrong in the side cost more than right ones, and are no worse measured."""
    bands = torch.rand(1, 3, 2, 8, N_BANDS)
    stems = torch.zeros(1, 3, 2, 8, 2_049, dtype=torch.complex64)
    stems[:, 1, 0], stems[:, 2, 1] = 1.0, 1.0  # the bass in the middle, the rest in the side
    right = torch.zeros_like(bands)
    right[:, 1, 0], right[:, 2, 1] = 1.0, 1.0
    alike = right.clone()
    alike[:, :, 1] = alike[:, :, 0]
    mix = pool(stems.sum(dim=1))
    assert _losses(stems, mix, right)["total"] < _losses(stems, mix, alike)["total"]
    assert (_improvement(stems, right)[0, 1:] > _improvement(stems, alike)[0, 1:] + 20).all()


def test_a_stopped_run_goes_on_to_the_same_bits(passages: Path, tmp_path: Path) -> None:
    words = ("--data", str(passages), "--preset", "tiny", "--threads", "1", "--cache", str(tmp_path / "cache"))
    run(arguments("separator", *words, "-o", str(tmp_path / "whole")))
    run(arguments("separator", *words, "-o", str(tmp_path / "half"), "--steps", "2", "--decay-fraction", "0"))
    plan = (tmp_path / "whole" / "plan.json").read_text()
    (tmp_path / "half" / "plan.json").write_text(plan.replace(str(tmp_path / "whole"), str(tmp_path / "half")))
    run(arguments("separator", "--resume", str(tmp_path / "half")))
    one, other = (load_separator(tmp_path / name / "checkpoint").state_dict() for name in ("whole", "half"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    separator = load_separator(tmp_path / "whole" / "checkpoint")
    loop = Waveform((0.2 * np.random.default_rng(0).standard_normal((20_000, 2))).astype(np.float32), 44_100)
    assert np.abs(separate(loop, 120.0, separator).mix().samples - loop.samples).max() <= 1e-6


def test_material_without_stems_is_refused(tmp_path: Path) -> None:
    build(tmp_path, 0.001, 3, long=0.0)
    with pytest.raises(RequestError, match="holds no stems"):
        gather([tmp_path], tmp_path / "cache")
