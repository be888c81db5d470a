"""Who writes text: one Protocol, several engines."""
