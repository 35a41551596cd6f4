"""Notes to sounds."""
