"""What models are trained on: beats of loops, tokens of beats, a musician's own loops."""
