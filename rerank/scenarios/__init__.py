"""What a shop decides of a list: scenario documents compiled to array functions, and applied to an answer."""
