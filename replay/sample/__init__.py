"""A year of a synthetic shop at size: seeded, made day by day in arrays, with what was planted written beside it."""
