"""The session model: windows, the encoder that turns them into vectors, the item tower, and their training."""
