"""Serve the page: `python app.py`, then open http://127.0.0.1:7860. A Space runs this file too."""

from melformer.ui.blocks import serve

if __name__ == "__main__":
    serve()
