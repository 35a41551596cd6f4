"""One measure a file, each tested on empty, invalid, perfect and golden input."""
