"""The contract between Fairprice's services.

* `messages`: the events on the wire and their codec
* `topology`: exchanges, queues and bindings as data
* `broker`: the port to a message broker, its embedded implementation, and the batching publisher
* `runtime`: settings, life cycle, back-off, health, metrics, logs
* `errors`: one tree in three families
"""

__version__ = "0.1.0"
"""Of all of Fairprice's packages; `python -m scripts.version` sets it."""
