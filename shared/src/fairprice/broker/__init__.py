"""The port to a message broker, its embedded implementation, and the batching publisher on top of the port."""
