"""The command line, the supervisor of the embedded stack, and the demo. Nobody imports this room."""
