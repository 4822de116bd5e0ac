"""Every error that Fairprice raises on purpose.

    FairpriceError
    ├── TransientError            try again later; nothing was decided
    │   ├── BrokerUnavailable     a publish is *unknown*, not failed: publish again under the same id
    │   ├── StoreUnavailable      keep the batch, back off; says how long to wait if the store said so
    │   └── ExchangeUnavailable   keep the stream, back off; says how long to wait if the exchange said so
    ├── InvalidError              this input will never be right; dead-letter or quarantine it, go on
    │   ├── InvalidMessage        a whole message, of a type that is not read here
    │   ├── InvalidLine           a line of a message
    │   │   └── UnknownLine       an event of a later version: pass it over and count it
    │   ├── InvalidMarketData     a frame or a snapshot of the exchange
    │   └── NoSnapshotLeft        a recording holds no further snapshot of a symbol
    └── FatalError                stop the process; the text says what to do
        ├── SettingsError
        └── StartupError

The family decides what happens, so callers catch a family and never inspect a text.
"""


class FairpriceError(Exception):
    """Base of all errors below."""


class TransientError(FairpriceError):
    """The same call may succeed later; `retry_after` is the wait in seconds that the other side asked for, if any."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BrokerUnavailable(TransientError):
    """The broker did not confirm in time, or a delivery's subscription is gone."""


class StoreUnavailable(TransientError):
    """The store did not take the batch; it may or may not hold it."""


class ExchangeUnavailable(TransientError):
    """The exchange did not answer as hoped."""


class InvalidError(FairpriceError):
    """The input itself is wrong; trying again cannot help."""


class InvalidLine(InvalidError):
    """One line of a message that is no event of a known type; `line` holds it as received."""

    def __init__(self, line: bytes, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


class UnknownLine(InvalidLine):
    """One line whose `type` is not known: later versions add events, so readers ignore it."""


class InvalidMessage(InvalidError):
    """A message of another type than the queue's: readers dead-letter it whole."""


class InvalidMarketData(InvalidError):
    """A frame or snapshot that contradicts the exchange's protocol; `symbol` is whose it is, where that is known."""

    def __init__(self, message: str, symbol: str | None = None) -> None:
        super().__init__(message)
        self.symbol = symbol


class NoSnapshotLeft(InvalidError):
    """There will be no further snapshot of a symbol: the exchange is a recording, and this is its end."""


class FatalError(FairpriceError):
    """The process cannot go on; a person has to act."""


class SettingsError(FatalError):
    """A setting is unknown, missing or out of range."""


class StartupError(FatalError):
    """Something that the process needs at its start is not there: a port, a file, a symbol."""
