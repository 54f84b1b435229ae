"""Results for people: tables, progress bars, pictures."""
