"""People judge: what they are asked, how they vote, and what their votes say."""
