"""OpenSLO by the book: what the specification's reference validator would say of a document.

Two stages, as the reference has them: `decoding` reads a document into the structure of its version
and kind, `rules` judges what was read. `verdict` puts both together.
"""
