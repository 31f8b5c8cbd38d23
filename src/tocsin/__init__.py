"""Tocsin: an alarm bell for production LLM services, rung only for a real fire."""
