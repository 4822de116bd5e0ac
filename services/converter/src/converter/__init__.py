"""Turns each order book into a fair price."""

__version__ = "0.1.0"
