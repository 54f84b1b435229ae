"""Backups of a deployment: what is in one, how it is made, and how it is put back."""
