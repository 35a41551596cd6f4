"""From codes to sound: copied from the player's own where it can be, decoded where not."""
