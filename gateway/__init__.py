"""The HTTP service: decode, call, encode. Replicas of the tables, the API document, the demo page."""
