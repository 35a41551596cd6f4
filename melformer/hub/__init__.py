"""One model, saved, checked, loaded, pushed and pulled, with its card."""

from melformer.hub.bundle import Bundle, save_bundle
from melformer.hub.card import ModelCard, Source
from melformer.hub.remote import find_bundle, load_bundle, pull_bundle, push_bundle

__all__ = [
    "Bundle",
    "ModelCard",
    "Source",
    "find_bundle",
    "load_bundle",
    "pull_bundle",
    "push_bundle",
    "save_bundle",
]
