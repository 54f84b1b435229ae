"""The ledger: what was shown and what came of it as Parquet files by hour, which training and analysts read."""
