"""One visitor: what was asked for, what is composed, which stream computes next."""
