"""The visitor's rights: consent, retention, what is held of a visitor, and its erasure with receipts. Pure plans."""
