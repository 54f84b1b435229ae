"""Catalogues in published formats, read as items: generators over chunks of bytes. No file, network or clock here."""
