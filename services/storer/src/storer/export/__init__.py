"""Stored rows as files for other programs: prices, gaps and the verdict on each hour, as CSV or Parquet."""
