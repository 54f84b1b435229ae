"""Watching the data: what is counted of events, who is no human, and what is wrong. Pure; stands on contracts alone."""
