"""Training: the loop, its command, augmentation, faces in memory, and the log."""
