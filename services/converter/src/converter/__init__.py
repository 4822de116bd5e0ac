"""Turns each order book into a fair price."""
