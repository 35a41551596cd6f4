"""What comes next, half beat by half beat and stem by stem, from the pointer's scores."""
