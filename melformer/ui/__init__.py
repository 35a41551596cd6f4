"""The page a musician keeps open: sessions, streaming and the Gradio blocks around them."""
