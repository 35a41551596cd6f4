"""Mixes continued in codes: the transformer alone, without stems. Trainings and evaluations listen to it."""
