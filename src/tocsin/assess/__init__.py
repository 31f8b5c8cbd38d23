"""Counts in, verdicts out: what is normal, what is promised, and whether either is broken. Pure."""
