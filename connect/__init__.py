"""What other systems say, read as ours: payloads of trackers, feeds of catalogues, prices."""
