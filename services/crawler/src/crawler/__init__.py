"""Keeps order books in provable sync with an exchange and publishes one book for each diff.

`venues` know the exchanges' protocols, `streams` the connections to them. `book` is pure: it does no I/O and reads no
clock. `app` joins them in one direction, `recorder` records it.
"""
