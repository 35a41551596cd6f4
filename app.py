"""Serve the page: `python app.py`, then open http://127.0.0.1:7860. A Space runs this file too."""

import sys

from melformer.errors import MelformerError
from melformer.ui.blocks import serve

if __name__ == "__main__":
    try:
        serve()
    except MelformerError as error:  # no checkpoint, or one that is damaged
        sys.exit(f"melformer: {error}")
