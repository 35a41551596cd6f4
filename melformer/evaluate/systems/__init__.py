"""Systems that are compared: the model, references that need no training, and rules."""
