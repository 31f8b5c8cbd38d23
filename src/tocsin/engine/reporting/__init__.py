"""Reports of a running server: what was known, made into files, kept and sent."""
