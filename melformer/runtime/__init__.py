"""One definition of a step, run fast on a processor."""
