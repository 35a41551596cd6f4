"""Scales, chords, and patterns in time."""
