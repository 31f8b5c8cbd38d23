"""YAML in Git to a typed desired state, the plan of a change, and the record of applying it."""
