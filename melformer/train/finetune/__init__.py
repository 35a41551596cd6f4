"""Fine-tuning on a musician's own loops."""
