"""Values over time and what was expected of them: the ground that gauge detectors stand on. Pure.

A gauge is one number per step: a p95, tokens a minute, a queue's depth, or any series in a file.
Everything here works on matrices [step, series], so ten thousand series cost little more than one.
"""
