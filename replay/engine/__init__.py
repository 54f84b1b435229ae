"""The open loop: what is sent, when, and where to."""
