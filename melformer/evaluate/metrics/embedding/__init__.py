"""How alike clips are to an independent network that hears music."""
