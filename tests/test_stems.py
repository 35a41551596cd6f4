"""Stems: a transform on the beat grid, masks that sum to one, stems that add up to the loop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform, read_bpm_tag, read_waveform, write_waveform
from melformer.cli import main
from melformer.errors import AudioError, CheckpointError, ConfigError
from melformer.hub.parts import load_separator, save_part
from melformer.stems import STEMS, Stems
from melformer.stems.export import write_stems
from melformer.stems.features import N_BANDS, features, median, pool, to_bins
from melformer.stems.grid_stft import FRAMES_PER_BEAT, frame_centres, istft, stft, window_length
from melformer.stems.separate import separate
from melformer.stems.separator import Separator, SeparatorConfig

TINY = SeparatorConfig((4, 4, 8, 8, 8))


@pytest.fixture(scope="module")
def separator():
    torch.manual_seed(0)
    return Separator(TINY).eval()


def noise(n, channels=2, seed=0):
    return (0.3 * np.random.default_rng(seed).standard_normal((n, channels))).astype(np.float32)


@pytest.mark.parametrize(("rate", "bpm"), [(22_050, 47.0), (44_100, 120.0), (96_000, 233.3)])
def test_the_transform_on_the_beat_grid_is_inverted(rate, bpm):
    waveform = torch.from_numpy(noise(rate).T.copy())
    centres = torch.from_numpy(frame_centres(rate, rate, bpm))
    n_fft = window_length(rate)
    back = istft(stft(waveform, centres, n_fft), centres, n_fft, rate)
    assert (back - waveform).abs().max() < 1e-5


def test_a_beat_later_is_a_whole_number_of_frames_later():
    centres = frame_centres(10 * 44_100, 44_100, 97.3)
    beat = 60 / 97.3 * 44_100
    for k in range(1, 10):
        assert abs(centres[k * FRAMES_PER_BEAT] - k * beat) <= 0.5


@pytest.mark.parametrize("n", [5, 9])
def test_the_sorting_network_gives_the_median(n):
    values = torch.from_numpy(np.random.default_rng(3).standard_normal((n, 1_000)).astype(np.float32))
    assert torch.equal(median(list(values)), values.median(dim=0).values)


def test_masks_sum_to_one_at_every_bin(separator):
    spectra = torch.randn(1, 32, 2_049, dtype=torch.complex64)
    bands = pool(spectra)
    masks = separator(features(bands, bands))
    assert masks.shape == (1, 3, 2, 32, N_BANDS)
    assert (to_bins(masks, 2_049).sum(dim=1) - 1).abs().max() < 1e-5


def test_bands_read_back_at_their_centres():
    bands = torch.arange(N_BANDS, dtype=torch.float32)
    bins = to_bins(bands, 2_049)
    assert torch.equal(bins[:160], bands[:160]) and bins[-1] == N_BANDS - 1
    assert (bins.diff() >= 0).all()


def test_middle_and_side_have_masks_of_their_own(separator):
    """Masks that give the middle to the drums and the side to the bass: each has that part of the loop alone."""

    class MiddleAndSide(torch.nn.Module):
        def forward(self, features):
            masks = torch.zeros(1, 3, 2, *features.shape[2:])
            masks[:, 0, 0], masks[:, 1, 1] = 1.0, 1.0
            return masks

    loop = Waveform(noise(30_000), 44_100)
    stems = separate(loop, 120.0, MiddleAndSide())
    middle = loop.samples.mean(axis=1)
    assert np.abs(stems.drums.samples - middle[:, None]).max() < 1e-4
    assert np.abs(stems.bass.samples - (loop.samples - middle[:, None])).max() < 1e-4
    mono = separate(Waveform(loop.samples[:, :1], 44_100), 120.0, MiddleAndSide())
    assert np.abs(mono.drums.samples - loop.samples[:, :1]).max() < 1e-4


@pytest.mark.parametrize(("rate", "channels", "bpm"), [(22_050, 1, 90.0), (44_100, 2, 174.0), (96_000, 2, 61.0)])
def test_stems_add_up_to_the_loop(separator, rate, channels, bpm):
    loop = Waveform(noise(int(2.3 * rate), channels), rate)
    stems = separate(loop, bpm, separator)
    assert all(stem.samples.shape == loop.samples.shape and stem.sample_rate == rate for stem in stems)
    assert np.abs(stems.mix().samples - loop.samples).max() <= 1e-6


def test_a_long_file_is_separated_in_blocks(separator):
    rate = 8_000
    loop = Waveform(noise(rate * 60, 1), rate)
    stems = separate(loop, 170.0, separator)
    assert np.abs(stems.mix().samples - loop.samples).max() <= 1e-6
    assert all(np.abs(stem.samples[-rate:]).max() > 0 for stem in stems if stem.samples.any())


def test_spectra_are_made_a_slice_at_a_time(separator, monkeypatch):
    """What is transformed at once has a bound, whatever the loop's length, and the stems are the same bit for bit."""
    from melformer.stems import grid_stft
    from melformer.stems import separate as module
    from melformer.stems.units import unit_pictures

    waveform, most = Waveform(noise(20 * 22_050), 22_050), []
    transform = torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda frames: most.append(frames.numel()) or transform(frames))
    stems = separate(waveform, 120.0, separator)
    assert max(most) <= 2 * module.SLICE_FRAMES * window_length(22_050)
    most.clear()
    grid = BeatGrid(120.0, 22_050)
    mono = np.stack([stem.samples.mean(axis=1) for stem in stems])
    pictures = unit_pictures(mono, grid, 80)
    assert max(most) <= grid_stft.SLICE_VALUES
    monkeypatch.setattr(module, "SLICE_FRAMES", 10**6)
    monkeypatch.setattr(grid_stft, "SLICE_VALUES", 10**9)
    at_once = separate(waveform, 120.0, separator)
    assert all(np.array_equal(one.samples, other.samples) for one, other in zip(stems, at_once))
    assert np.array_equal(pictures.mel, unit_pictures(mono, grid, 80).mel)


def test_silence_has_no_stems(separator):
    stems = separate(Waveform(np.zeros((44_100, 2), np.float32), 44_100), 120.0, separator)
    assert stems.present == () and not stems.mix().samples.any()


def test_missing_stems_are_silent_and_odd_ones_are_refused():
    loop = Waveform(noise(1_000), 44_100)
    stems = Stems.from_mapping({"bass": loop})
    assert stems.present == ("bass",) and np.array_equal(stems.mix().samples, loop.samples)
    with pytest.raises(AudioError, match="vocals"):
        Stems.from_mapping({"vocals": loop})
    with pytest.raises(AudioError, match="1,000 samples"):
        Stems.from_mapping({"bass": loop, "drums": Waveform(noise(900), 44_100)})
    with pytest.raises(KeyError, match="stems are drums, bass, other"):
        stems["vocals"]
    assert STEMS == ("drums", "bass", "other")


def test_a_separator_is_saved_and_read_back(separator, tmp_path):
    save_part(tmp_path / "separator.safetensors", separator)
    again = load_separator(tmp_path)
    assert again.config == TINY
    for name, tensor in separator.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.half().float())


def test_a_damaged_separator_is_refused(separator, tmp_path):
    path = tmp_path / "separator.safetensors"
    save_part(path, separator)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_separator(tmp_path)
    broken = Separator(TINY)
    with torch.no_grad():
        broken.head.bias[0] = torch.nan
    save_part(path, broken)
    with pytest.raises(CheckpointError, match="NaN"):
        load_separator(tmp_path)
    with pytest.raises(ConfigError, match="five numbers"):
        SeparatorConfig((16, 32))


@pytest.mark.parametrize(("encoding", "n_bits"), [("pcm16", 16), ("pcm24", 24), ("float", 0)])
def test_written_stems_add_up_to_the_file(separator, tmp_path, encoding, n_bits):
    scale = 2.0 ** (n_bits - 1) if n_bits else 1.0
    samples = noise(30_000) if not n_bits else (np.rint(noise(30_000) * scale) / scale).astype(np.float32)
    loop = Waveform(np.clip(samples, -1, 1 - 2 / 2**15), 44_100)
    written = write_stems(separate(loop, 120.0, separator), loop, tmp_path, "loop", 120.0, encoding)
    parts = [read_waveform(path).samples.astype(np.float64) for path in written.files.values()]
    assert written.encoding == encoding
    assert np.abs(sum(parts) - loop.samples).max() <= (0.0 if n_bits else 1e-6)
    assert all(read_bpm_tag(path) == pytest.approx(120.0) for path in written.files.values())


def test_a_stem_over_full_scale_is_written_as_float(tmp_path):
    loud = Waveform(np.full((1_000, 1), 0.9, np.float32), 44_100)
    stems = Stems.from_mapping({"drums": Waveform(2 * loud.samples, 44_100), "bass": Waveform(-loud.samples, 44_100)})
    written = write_stems(stems, loud, tmp_path, "loop", 120.0, "pcm16")
    assert written.encoding == "float" and set(written.files) == {"drums", "bass"}
    total = sum(read_waveform(path).samples for path in written.files.values())
    assert np.abs(total - loud.samples).max() <= 1e-6


def test_stems_never_replace_a_file(tmp_path):
    loop = Waveform(noise(1_000), 44_100)
    (tmp_path / "loop_bass.wav").write_bytes(b"mine")
    with pytest.raises(AudioError, match="exists already"):
        write_stems(Stems.from_mapping({"bass": loop, "drums": loop}), loop, tmp_path, "loop", 120.0)
    assert [path.name for path in tmp_path.iterdir()] == ["loop_bass.wav"]


def test_the_command_writes_stems_that_add_up(tmp_path, capsys):
    source = Path(__file__).parents[1] / "examples" / "techno_132bpm.flac"
    loop = tmp_path / "beat_132bpm.wav"
    write_waveform(loop, read_waveform(source).slice(0, 80_000))
    assert main(["stems", str(loop), "-o", str(tmp_path / "out"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    files = [stem["file"] for stem in facts["stems"].values()]
    assert sum(stem["share"] for stem in facts["stems"].values()) == pytest.approx(1, abs=0.01)
    assert np.array_equal(sum(read_waveform(file).samples for file in files), read_waveform(loop).samples)
    assert main(["stems", str(loop), "-o", str(tmp_path / "out")]) == 2
    assert "exists already" in capsys.readouterr().err
