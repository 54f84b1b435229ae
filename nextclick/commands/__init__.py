"""The commands, a file a verb. They call libraries, never each other's functions."""
