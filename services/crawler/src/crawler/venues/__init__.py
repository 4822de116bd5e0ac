"""The exchanges that the crawler knows: a folder each, and a line in `crawler.venues.table`."""
