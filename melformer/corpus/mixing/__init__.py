"""Sounds to a finished stereo mix."""
