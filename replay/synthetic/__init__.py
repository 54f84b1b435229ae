"""The synthetic shop and its shoppers."""
