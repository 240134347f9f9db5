"""Photos with masks: reading them, and turning them into augmented training samples."""
