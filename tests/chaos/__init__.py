"""Chaos: traffic into a real stack, faults at random moments, and then everything compared with the plain reading of
the log (`replay.reference`).
"""
