"""State in Redis: sessions, change tables (catalogue, trends), and the embedded server. Redis clients live here
and in eventlog only.
"""
