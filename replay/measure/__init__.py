"""What a run comes to: latencies, hit rates, freshness, objectives."""
