"""One model, saved, checked, loaded, pushed and pulled."""

from melformer.hub.bundle import Bundle, save_bundle
from melformer.hub.remote import find_bundle, load_bundle, pull_bundle, push_bundle

__all__ = ["Bundle", "find_bundle", "load_bundle", "pull_bundle", "push_bundle", "save_bundle"]
