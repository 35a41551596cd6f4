"""Serve the page: `python app.py`, then open http://127.0.0.1:7860. A Space runs this file too."""

import sys

from melformer.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve"]))
