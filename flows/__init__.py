"""Bytewax dataflows. They only wire: every rule, window and score is a plain function that imports no Bytewax."""
