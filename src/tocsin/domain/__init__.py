"""Nouns that two or more rooms share, the ports they meet at, and the one tree of errors."""
