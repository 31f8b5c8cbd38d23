"""The language of indicators: one condition on a call, as text, to a typed expression."""
