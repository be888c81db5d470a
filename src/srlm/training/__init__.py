"""SFT and DPO on transformers.Trainer, in a child process that gives its memory back."""
