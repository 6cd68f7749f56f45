"""From what is on disk to arrays for training: sources, readers, augmentation, batches."""
