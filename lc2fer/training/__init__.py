"""Training: the loop, its command, augmentation, faces in memory, the state of a run on disk, and the log."""
