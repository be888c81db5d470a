"""A server on this machine: people judge blind, and the run's owner looks at its records."""
