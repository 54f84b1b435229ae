"""Inputs that nobody would send, to everything that reads: see `docs/fuzzing.md`."""
