"""The server that the page runs on: what a stranger may send, how much of it, and what it costs."""
