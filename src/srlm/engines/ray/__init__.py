"""Engines over a Ray cluster."""

import os

# Ray asks an address at which nobody is any more 20 times, 41 s each, as that of a cluster that crashed here.
os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
