"""The past, read from where the storer keeps it: a port of the gateway's own, which only reads."""
