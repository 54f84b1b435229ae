"""The vocabulary of Nextclick: identities, events, items, sessions, Redis keys, codecs, errors.

Every other room may import this one; it imports none of them.
"""
