"""What a run will cost before it starts, on this machine or on a cluster, and a simulation of the latter."""
