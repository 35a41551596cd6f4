"""The whole way through huggingface_hub, against a server on the loopback that speaks the Hub's protocol."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, HubServer, Repo
from huggingface_hub import constants

from melformer.config import PRESETS
from melformer.errors import CheckpointError
from melformer.hub import load_bundle, pull_bundle, push_bundle, save_bundle
from melformer.hub.shapes import expected_shapes

REPO = "someone/a-model"
CARD = "---\nlicense: mit\n---\n# A model\n"


@pytest.fixture(autouse=True)
def fresh_cache(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def make(folder: Path, seed: int = 0, card: str = CARD) -> Path:
    config = PRESETS["tiny"]
    generator = torch.Generator().manual_seed(seed)
    tensors = {n: torch.randn(shape, generator=generator) for n, shape in expected_shapes(config).items()}
    return save_bundle(folder, config, tensors, card)


def bits(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def refused(name: str, *words: str, revision: str | None = None) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_bundle(name, revision)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("logged_in")
def test_create_push_and_load(hub: HubServer, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    (folder / "resume.pt").write_bytes(b"a training state is nobody's business")
    pushed = push_bundle(folder, REPO)
    assert pushed.changed and pushed.url == f"{hub.url}/{REPO}"
    bundle = load_bundle(REPO)
    assert bundle.revision == pushed.commit and bits(bundle.path) == bits(folder)
    published = hub.repos[REPO].tree("main")
    assert published is not None and "resume.pt" not in published[1]
    assert published[1]["README.md"].decode() == CARD


@pytest.mark.usefixtures("logged_in")
def test_pushing_the_same_again_makes_no_commit(hub: HubServer, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    first = push_bundle(folder, REPO)
    n_commits = len(hub.repos[REPO].commits)
    again = push_bundle(folder, REPO)
    assert (again.commit, again.changed) == (first.commit, False)
    assert len(hub.repos[REPO].commits) == n_commits


@pytest.mark.usefixtures("logged_in")
def test_a_tag_pins_what_is_pulled_and_never_moves(hub: HubServer, tmp_path: Path) -> None:
    old, new = make(tmp_path / "old", seed=1), make(tmp_path / "new", seed=2)
    first = push_bundle(old, REPO, tag="v1")
    assert push_bundle(old, REPO, tag="v1") == type(first)(first.url, first.commit, False)
    push_bundle(new, REPO)
    assert bits(load_bundle(REPO).path) == bits(new)
    for name, revision in ((REPO, "v1"), (f"{REPO}@v1", None), (REPO, first.commit)):
        bundle = load_bundle(name, revision)
        assert bundle.revision == first.commit and bits(bundle.path) == bits(old)
    with pytest.raises(CheckpointError, match="never moves"):
        push_bundle(new, REPO, tag="v1")
    assert hub.repos[REPO].refs["v1"] == first.commit


@pytest.mark.usefixtures("logged_in")
def test_pull_copies_a_checked_bundle(tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    pushed = push_bundle(folder, REPO)
    assert pull_bundle(REPO, tmp_path / "copy").revision == pushed.commit
    assert bits(load_bundle(tmp_path / "copy").path) == bits(folder)
    assert (tmp_path / "copy" / "README.md").read_text() == CARD


@pytest.mark.usefixtures("logged_in")
def test_a_broken_bundle_is_not_published(hub: HubServer, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    (folder / "README.md").unlink()
    with pytest.raises(CheckpointError, match="model card"):
        push_bundle(folder, REPO)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        push_bundle(folder, REPO)
    with pytest.raises(CheckpointError, match="user/repo"):
        push_bundle(make(tmp_path / "whole"), "no name")
    assert not hub.repos


def test_pushing_without_a_token(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="hf auth login"):
        push_bundle(make(tmp_path / "model"), REPO)
    assert not hub.repos


def publish(hub: HubServer, folder: Path) -> str:
    hub.repos[REPO] = Repo()
    return hub.repos[REPO].commit({path.name: path.read_bytes() for path in folder.iterdir()})


def test_gated(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, make(tmp_path / "model"))
    hub.repos[REPO].gated = True
    refused(REPO, "gated", "hf auth login")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert load_bundle(REPO).revision == hub.repos[REPO].refs["main"]


def test_missing(hub: HubServer, tmp_path: Path) -> None:
    refused("someone/nothing", "no repository someone/nothing", "spelling")
    publish(hub, make(tmp_path / "model"))
    refused(REPO, "no revision 'v9'", revision="v9")
    refused(f"{REPO}--x", "user/repo")


def test_a_repository_of_something_else(hub: HubServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    publish(hub, other)
    refused(REPO, "config.json")
    assert not any("pytorch_model.bin" in line for line in hub.log)


def test_corrupted_on_the_hub(hub: HubServer, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1000])
    publish(hub, folder)
    refused(REPO, "damaged")


def test_offline_uses_what_was_downloaded(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = publish(hub, make(tmp_path / "model"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(REPO, "cannot be reached", "not downloaded before")
    monkeypatch.undo()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    load_bundle(REPO)
    hub.repos.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_bundle(REPO).revision == commit


def test_interrupted_and_resumed(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: Path
) -> None:
    """Nothing half is loaded; a retry fetches the rest of a file, a new run only missing files."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", chunk := 10_000)
    folder = make(tmp_path / "model")
    publish(hub, folder)
    third = (folder / "model.safetensors").stat().st_size // 3
    arrived = third // chunk * chunk
    hub.break_off_after = [third]
    assert bits(load_bundle(REPO).path) == bits(folder)
    assert hub.ranges == [f"bytes={arrived}-"]

    shutil.rmtree(fresh_cache)
    hub.break_off_after = [third] + 20 * [0]
    refused(REPO, "broke off", "run it again")
    hub.break_off_after.clear()
    hub.log.clear()
    assert bits(load_bundle(REPO).path) == bits(folder)
    assert any("/cdn/" in line for line in hub.log)
    assert not any(line.endswith("config.json") for line in hub.log)
