"""Campaigns: picks for an audience, who may be written to, and who waits for an item. Pure; stands on what is below."""
