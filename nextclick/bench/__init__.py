"""Benchmarks, a file each, and the one report that they write."""
