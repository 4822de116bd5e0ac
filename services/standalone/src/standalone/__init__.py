"""The whole of Fairprice in one process: every service over the embedded broker, nothing else installed."""
