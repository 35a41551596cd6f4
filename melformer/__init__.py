"""Melformer continues a musician's loop, locked to the beat."""
