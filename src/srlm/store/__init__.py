"""A run on disk: record files that grow by whole blocks, steps with digests, one writer."""
