"""Which slice of the traffic, and what changed: the questions after "something is wrong"."""
