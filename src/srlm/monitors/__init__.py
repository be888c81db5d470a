"""Is a round better, or did it only learn to please its own judge? Signals, and gates that act on them."""
