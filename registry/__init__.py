"""Models that were trained: immutable versions in a folder, and which of them serves."""
