"""The embedded stack: its processes, settings and client, and what scenarios do to it."""
