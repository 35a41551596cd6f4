"""Loops and takes: opened, stored, exported."""
