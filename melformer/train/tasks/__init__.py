"""What is learned, a network a file: its loss, its validation and its way out."""
