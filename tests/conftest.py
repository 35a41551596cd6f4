"""What every test stands on: no network, one thread, and a Hub on the loopback."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# huggingface_hub reads these when it is first imported, so they stand before any import of ours.
from hub_server import HubServer

HUB = HubServer()
os.environ["HF_ENDPOINT"] = HUB.url
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="melformer-hub-cache-")
os.environ["HF_HUB_DISABLE_XET"] = "1"  # uploads would look for another service
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a second thread gains little and disturbs neighbours
os.environ.pop("MELFORMER_MODEL", None)
os.environ["MELFORMER_MUSICNN"] = ""  # 29 MB that not everyone has
os.environ.pop("HF_TOKEN", None)

import pytest  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a browser is slow."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def _hub_thread() -> Iterator[None]:
    HUB.start()
    yield
    HUB.shutdown()


@pytest.fixture
def hub(_hub_thread: None) -> HubServer:
    """An empty Hub on the loopback; huggingface_hub talks to it without being told."""
    HUB.reset()
    return HUB


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from page_server import browsing

    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A loop of 8 beats at 200 BPM, and a file that is none."""
    from page_double import loop_samples

    from melformer.audio.io import write_waveform

    folder = tmp_path_factory.mktemp("examples")
    write_waveform(folder / "click_200bpm.wav", loop_samples(8, 200.0), bpm=200)
    (folder / "words.wav").write_text("This is no sound.")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def server(loops: list[Path]) -> Iterator[Any]:
    """The page with a stand-in for the model."""
    from page_double import Model
    from page_server import serving

    with serving(Model(compute_s=0.01), loops[:1]) as server:
        yield server


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """A visitor's page (page_server.visiting)."""
    from page_server import visiting

    with visiting(browser, server) as page:
        yield page


@pytest.fixture(scope="module")
def shared_page(browser: Any, server: Any) -> Iterator[Any]:
    """One page for all tests of a file that each begin by loading a loop: to open one takes seconds."""
    from page_server import visiting

    with visiting(browser, server) as page:
        yield page
