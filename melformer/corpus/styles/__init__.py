"""The styles, as tables."""
