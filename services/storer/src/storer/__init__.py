"""Stores prices, sampled books and gaps."""

__version__ = "0.1.0"
