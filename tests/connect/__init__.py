"""What other systems say, read as ours."""
