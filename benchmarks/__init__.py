"""Speed and memory beside peers, and as the work grows. Not part of the package."""
