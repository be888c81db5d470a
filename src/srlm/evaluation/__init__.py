"""What is measured after every round, on held-out seed data, never on the loop's own scores."""
