"""A passage decided on paper, from one seed."""
