"""The machines: what an operator wrote of them, how they are reached and found, how many turns each runs."""
