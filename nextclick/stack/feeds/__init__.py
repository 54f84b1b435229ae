"""Catalogues that a shop publishes, pulled again and again: fetched, compared with the last pull, and applied."""
