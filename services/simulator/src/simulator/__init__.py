"""An exchange that speaks Binance's market-data protocol: REST and websockets on one port, with faults on demand.

In one process, without sockets and on a virtual clock:

    exchange = Exchange(("BTCUSDT",), seed=1)
    exchange.inject(Fault("drop", symbol="BTCUSDT", after=3))
    snapshot = exchange.snapshot("BTCUSDT", 1000).body
    for sent in exchange.advance(exchange.now_us + 5_000_000):
        print(sent.on_wire(combined=True) if isinstance(sent, Frame) else sent)

`exchange.book_at(symbol, update_id)` is the truth to compare with. On the network: `SimulatorServer(exchange)`, or
`SimulatorServer(Playback([path]))` for recordings. The market is modelled; what it cannot show is listed in `knobs.py`.
"""

from simulator.dialects import DIALECTS
from simulator.exchange import START_US, Exchange
from simulator.faults import KINDS, Board, Fault
from simulator.frames import Book, Disconnect, Frame
from simulator.knobs import Knobs
from simulator.lines import RecordingError
from simulator.period import Moment, add_part_options
from simulator.playback import Playback
from simulator.replies import Reply
from simulator.server import PortInUse, SimulatorServer

__all__ = [
    "DIALECTS",
    "KINDS",
    "START_US",
    "Board",
    "Book",
    "Disconnect",
    "Exchange",
    "Fault",
    "Frame",
    "Knobs",
    "Moment",
    "Playback",
    "PortInUse",
    "RecordingError",
    "Reply",
    "SimulatorServer",
    "add_part_options",
]

__version__ = "0.1.0"
