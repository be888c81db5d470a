"""A run's records as pages for its owner: an index of them, questions to it, and what is shown."""
