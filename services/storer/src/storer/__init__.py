"""Stores prices, sampled books and gaps."""
