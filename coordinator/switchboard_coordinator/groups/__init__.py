"""Many lanes, one answer: who is asked, how they go on together, what of each is shown."""
