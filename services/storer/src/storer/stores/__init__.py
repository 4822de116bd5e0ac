"""The store port and the stores behind it."""
