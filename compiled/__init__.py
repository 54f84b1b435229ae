"""Loops over arrays that numba compiles once for this machine: `kernels` declares them, `cache` keeps them.

Kernels live beside what they compute, in the rooms above; here is only how they are compiled.
"""
