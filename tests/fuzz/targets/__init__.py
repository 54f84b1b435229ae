"""One file a target: what is read, what is valid, and what may be raised."""
