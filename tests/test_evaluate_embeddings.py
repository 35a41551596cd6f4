"""The independent listener: checkpoint reader, network, Fréchet distance, cosine and bootstrap, all offline."""

import struct
import zipfile

import numpy as np
import pytest

from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, RequestError
from melformer.evaluate.bootstrap import bootstrap, mean_interval
from melformer.evaluate.metrics.embedding import musicnn
from melformer.evaluate.metrics.embedding.embeddings import frechet_distances, mean_cosine
from melformer.evaluate.metrics.embedding.tensorflow_checkpoint import MAGIC, read_tensors


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A table's block whose keys share what they can, with its one restart."""
    out, before = b"", b""
    for key, value in entries:
        shared = sum(key[: i + 1] == before[: i + 1] for i in range(min(len(key), len(before))))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1)


def checkpoint(tensors: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """An index and its data, as TensorFlow writes them (checksums left zero: they are not read)."""
    entries, data = [(b"", field(1, 1))], b""
    for name in sorted(tensors):
        value = tensors[name].astype("<f4")
        shape = b"".join(field(2, field(1, size)) for size in value.shape)
        entry = field(1, 1) + field(2, shape) + field(4, len(data)) + field(5, value.nbytes)
        entries.append((name.encode(), entry))
        data += value.tobytes()
    rows = block(entries)
    handle = varint(0) + varint(len(rows))
    top = block([(b"\xff", handle)])
    index = rows + bytes(5) + top + bytes(5)
    footer = varint(0) + varint(0) + varint(len(rows) + 5) + varint(len(top))
    return index + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC), data


def network_tensors() -> dict[str, np.ndarray]:
    """MusiCNN's shapes with random numbers."""
    rng = np.random.default_rng(0)
    kernels = [(7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)]
    kernels += [(7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)]
    shapes: dict[str, tuple[int, ...]] = {"model/dense/kernel": (1506, 200), "model/dense/bias": (200,)}
    for i, kernel in enumerate(kernels):
        name = f"model/conv2d{f'_{i}' if i else ''}"
        shapes |= {f"{name}/kernel": kernel, f"{name}/bias": kernel[3:]}
    for i, width in enumerate([1, *(kernel[3] for kernel in kernels), 1506, 200]):
        name = f"model/batch_normalization{f'_{i}' if i else ''}"
        shapes |= {f"{name}/{part}": (width,) for part in ("beta", "gamma", "moving_mean", "moving_variance")}
    return {name: np.abs(rng.standard_normal(shape)).astype(np.float32) * 0.05 for name, shape in shapes.items()}


def test_a_checkpoint_is_read_back_exactly():
    tensors = {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "a/bias": np.ones(200, np.float32)}
    read = read_tensors(*checkpoint(tensors))
    assert sorted(read) == sorted(tensors)
    for name, value in tensors.items():
        assert np.array_equal(read[name], value)


@pytest.mark.parametrize("n_bytes", [0, 47, 60])
def test_a_cut_or_foreign_checkpoint_is_refused(n_bytes):
    index, data = checkpoint({"a": np.ones(3, np.float32)})
    with pytest.raises(RequestError, match="no index"):
        read_tensors(index[:n_bytes], data)
    with pytest.raises(RequestError, match="damaged"):
        read_tensors(index, data[:4])


def test_the_network_is_read_out_of_a_wheel_and_embeds_each_three_seconds(tmp_path):
    path = tmp_path / musicnn.WHEEL
    index, data = checkpoint(network_tensors())
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(musicnn.CHECKPOINT + ".index", index)
        wheel.writestr(musicnn.CHECKPOINT + ".data-00000-of-00001", data)
    network = musicnn.MusiCNN.from_wheel(path)
    t = np.arange(16_000 * 6) / 16_000
    sound = Waveform((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[:, None], 16_000)
    embedded = network.embed(sound)
    assert embedded.shape == (3, 200)
    assert np.isfinite(embedded).all()
    assert network.embed(sound.slice(0, 8000)).shape == (1, 200)  # shorter than a patch: played round
    later = network.embed(sound.slice(musicnn.PATCH_HOP * musicnn.HOP_LENGTH * 1, sound.n_samples))
    assert later[1] == pytest.approx(embedded[2], abs=1e-4)  # a patch knows nothing of the others


def test_other_files_are_no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("MELFORMER_MUSICNN", str(tmp_path / "none.whl"))
    assert musicnn.weights_file() is None
    with pytest.raises(RequestError, match="is not the wheel"):
        musicnn.MusiCNN.from_wheel(tmp_path / "none.whl")
    with pytest.raises(RequestError, match="conv2d/kernel"):
        musicnn.MusiCNN({"other": np.ones(2, np.float32)})


def test_frechet_distance_of_known_distributions():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4000, 3))
    assert frechet_distances([a], a)[0] == pytest.approx(0, abs=1e-6)
    assert frechet_distances([a], a + 2.0)[0] == pytest.approx(12, abs=1e-6)  # three shifts of 2
    # variances 1 and 9 in each of three dimensions: 3 · (1 + 9 − 2 · 3)
    assert frechet_distances([a], 3.0 * a)[0] == pytest.approx(12, rel=0.06)
    assert frechet_distances([a, a + 1.0, 3.0 * a], a) == [
        pytest.approx(frechet_distances([rows], a)[0], abs=1e-9) for rows in (a, a + 1.0, 3.0 * a)
    ]


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.ones((4, 2)), np.full((4, 3), np.nan), np.ones(3)])
def test_too_few_or_broken_embeddings_are_refused(bad):
    with pytest.raises(AudioError, match="finite rows"):
        frechet_distances([np.ones((4, 3))], bad)


def test_cosine_of_equal_opposite_and_empty_sets():
    a = np.array([[1.0, 0.0], [1.0, 2.0]])
    assert mean_cosine(a, a) == pytest.approx(1)
    assert mean_cosine(a, -a) == pytest.approx(-1)
    assert mean_cosine(np.array([[1.0, 0.0]]), np.array([[0.0, 3.0]])) == pytest.approx(0)
    assert np.isnan(mean_cosine(a, a[:0]))
    assert np.isnan(mean_cosine(a, 0 * a))


def test_the_bootstrap_covers_a_known_mean_and_pairs_differences():
    rng = np.random.default_rng(1)
    values = rng.normal(5.0, 1.0, 100)
    found = mean_interval(list(values))
    assert found.low < 5.0 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.645 * 0.1, rel=0.25)  # of a normal mean of 100
    shifted = values + 0.1
    paired = bootstrap(lambda clips: (shifted[clips] - values[clips]).mean(), 100).interval()
    assert (paired.low, paired.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert np.isnan(mean_interval([float("nan")]).value)
    assert mean_interval([float("nan"), 2.0]).value == 2.0
    with pytest.raises(RequestError, match="got 0"):
        bootstrap(lambda clips: 0.0, 0)
