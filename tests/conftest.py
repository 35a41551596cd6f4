"""What every test stands on: no network, one thread, and a Hub on the loopback."""

import os
import tempfile
from collections.abc import Iterator

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
os.environ.pop("HF_TOKEN", None)

import pytest  # noqa: E402


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
