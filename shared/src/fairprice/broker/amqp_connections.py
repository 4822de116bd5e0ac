"""Keeps the connections to RabbitMQ: makes them again without end, never in a storm, with one log line an outage.

A service has two, since an alarm of the broker blocks a connection that publishes as a whole. They live and die
together.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

import structlog
from aio_pika import Connection
from aio_pika.exceptions import InvalidFrameError, ProbableAuthenticationError
from yarl import URL

from fairprice.broker.addresses import Turns
from fairprice.broker.aiormq_channel import (
    HEARTBEAT,
    bounded,
    describe,
    describe_refusal,
    is_blocked,
    unblocked,
)
from fairprice.broker.amqp_topology import Restored, Topology
from fairprice.broker.retry import BackOff
from fairprice.errors import BrokerUnavailable, SettingsError
from fairprice.runtime.clock import Clock, timeout
from fairprice.topology import Exchange, Use

REPLY_TIMEOUT = 15.0
"""Seconds that the broker has for everything but the confirmation of a publish."""

CLOSE_TIMEOUT = 5.0
TRIAL_TIMEOUT = 5.0
"""Seconds after which it stays unknown whether queues lose messages: nothing else waits for that."""

CHECK_INTERVAL = 15.0
"""Seconds between two looks at the topology: a fanout that lost one of its queues gives no other sign."""

ALARM = "the broker accepts nothing because of an alarm: free memory or disk space on its machine"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Session:
    """The two connections to a `node` while both are there; `lost` says why one is not any more."""

    node: str
    publishing: Connection
    consuming: Connection
    lost: str | None = None
    is_alarm_logged: bool = False

    @property
    def is_blocked(self) -> bool:
        """Whether an alarm keeps the broker from taking what is published."""
        return is_blocked(self.publishing)

    async def unblocked(self) -> None:
        """Wait while an alarm holds publishes back; that is logged once, however many wait."""
        if self.is_blocked:
            if not self.is_alarm_logged:
                self.is_alarm_logged = True
                log.error("holding back what is to be published", problem=ALARM)
            await unblocked(self.publishing)
        if self.is_alarm_logged:  # also where the alarm ended while nobody waited
            self.is_alarm_logged = False
            log.info("the broker accepts messages again")


@dataclass(slots=True)
class _Outage:
    """The time without a session, since a second of the clock; `logged` is the kind of failure that was logged."""

    began: float
    lost: str | None = None
    attempts: int = 0
    logged: type | None = None


class Connections:
    """The two connections; `run` has to be running for them to be there. `url` is asked before each attempt.

    Both are at one node. Where several are named, the next one has its turn after each failure and each loss: one that
    is frozen or cut off would cost every attempt its whole patience. So a node that is up again is used again.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        name: str,
        clock: Clock,
        back_off: BackOff,
        exchanges: tuple[Exchange, ...],
        use: Use | None,
    ) -> None:
        try:
            self._turns = Turns(url)
        except ValueError as error:
            raise SettingsError(f"the broker's address: {error}") from error
        self._name = name
        self._clock = clock
        self._back_off = back_off
        self._exchanges = exchanges
        self._use = use
        self._pauses: Iterator[float] = back_off()
        self._session: Session | None = None
        self._connected = asyncio.Event()
        self._awake = asyncio.Event()
        self._outage: _Outage | None = None
        self._why_not = "not connected to the broker yet"
        self._has_declared = False
        self._unbound: set[str] = set()
        self.missing: Mapping[str, str] = {}
        self.absent: Mapping[str, str] = {}
        self.unsafe: tuple[str, ...] = ()
        self.losses = 0

    @property
    def is_connected(self) -> bool:
        """Whether both connections are there."""
        return self._session is not None

    @property
    def is_blocked(self) -> bool:
        """Whether the broker takes nothing from this service because of an alarm."""
        return self._session is not None and self._session.is_blocked

    def problems(self) -> Iterator[str]:
        """Describe what is wrong with the connections and with the topology."""
        if self._session is None:
            yield self._why_not
            return
        if self._session.is_blocked:
            yield ALARM
        yield from self.missing.values()
        yield from self.unsafe

    async def session(self) -> Session:
        """Return the connections, waiting for them if need be; the caller bounds the wait."""
        while self._session is None:
            await self._connected.wait()
        return self._session

    def open_another(self, use: str) -> AbstractAsyncContextManager[Connection]:
        """Open a connection for something else, at the same node; raises `BrokerUnavailable`."""
        return _connection(self._read_address(), f"{self._name} {use}")

    def doubt(self, session: Session, why: str) -> None:
        """Give a session up whose node does nothing that needs the other ones, if there is another to go on to.

        An alarm holds up all nodes alike, so it is waited for.
        """
        if not session.lost and not session.is_blocked and self._turns.are_several:
            session.lost = f"{why}; is the node {session.node} cut off from the others?"
            self._awake.set()

    def check_soon(self) -> None:
        """Have the topology looked at: something was not there."""
        self._awake.set()

    async def run(self) -> NoReturn:
        """Connect, and connect again whenever a connection is lost, until cancelled."""
        while True:
            try:
                async with self._opened() as session:
                    await self._keep(session)
            except BrokerUnavailable as error:
                self._log_failure(error)
                self._turns.next()
            await self._clock.sleep(next(self._pauses))

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Session]:
        address = self._read_address()
        async with AsyncExitStack() as stack:
            publishing, consuming = [
                await stack.enter_async_context(_connection(address, f"{self._name} {use}"))
                for use in ("publishes", "consumes")
            ]
            session = Session(_node(address), publishing, consuming)

            def on_close(_connection: object, error: BaseException | None) -> None:
                session.lost = session.lost or describe(error)
                self._awake.set()

            publishing.close_callbacks.add(on_close)
            consuming.close_callbacks.add(on_close)
            yield session

    def _read_address(self) -> URL:
        try:
            return _completed(self._turns.address())
        except (OSError, ValueError, SettingsError) as error:  # at the start it was right, so it may be being changed
            raise BrokerUnavailable(f"cannot read the broker's address or password: {error}") from error

    async def _keep(self, session: Session) -> NoReturn:
        """Let the session be used until it is lost, which raises `BrokerUnavailable`."""
        try:
            await self._watch(session)
        except BrokerUnavailable as error:
            self._end(session, str(error))
            raise
        finally:
            self._end(session, "it was closed")

    async def _watch(self, session: Session) -> NoReturn:
        """Look after exchanges and queues from time to time, and at once when something was not there."""
        topology = Topology(session.consuming, self._exchanges, self._use, self._unbound)
        while not session.lost:
            self._awake.clear()
            async with bounded("looking at exchanges and queues", REPLY_TIMEOUT):
                self._note_topology(await topology.restore())
            with suppress(BrokerUnavailable):
                async with bounded("trying the limits of queues", TRIAL_TIMEOUT):
                    self._note_unsafe(await topology.unsafe())
            if session.lost:
                break
            self._begin(session)
            with suppress(TimeoutError):
                async with timeout(self._clock, CHECK_INTERVAL):
                    await self._awake.wait()
                continue
            self._pauses = self._back_off()  # it has held for a while
        raise BrokerUnavailable(session.lost)

    def _begin(self, session: Session) -> None:
        if self._session is session:
            return
        self._session = session
        self._connected.set()
        if outage := self._outage:
            seconds = round(self._clock.monotonic() - outage.began, 1)
            attempts = outage.attempts + 1
            log.info(
                "connected to the broker again", node=session.node, seconds=seconds, attempts=attempts, lost=outage.lost
            )
            self._outage = None

    def _end(self, session: Session, why: str) -> None:
        if self._session is not session:
            return
        self._session = None
        self._connected.clear()
        self._why_not = f"lost the connection to the broker: {why}"
        self._outage = _Outage(self._clock.monotonic(), why)
        self.losses += 1

    def _log_failure(self, error: BrokerUnavailable) -> None:
        """Log the first failed attempt of an outage, and a later one only if it failed in another way."""
        outage = self._outage = self._outage or _Outage(self._clock.monotonic())
        if str(error) == outage.lost and not outage.attempts:
            return  # that was the loss itself; often the next attempt heals it
        outage.attempts += 1
        self._why_not = str(error)
        if outage.logged is not (kind := type(error.__cause__)):
            outage.logged = kind
            log.error("no broker; trying until there is one", problem=str(error), lost=outage.lost)

    def _note_topology(self, restored: Restored) -> None:
        if restored.declared:
            log.info("declared what the broker did not have", objects=restored.declared)
        if not self._has_declared and any(name.startswith("exchange ") for name in restored.declared):
            self._has_declared = True
            log.warning(
                "the queues of this broker have no bound but its disk, which only policies give: import"
                " rabbitmq/definitions.json for anything but development"
            )
        if restored.missing and restored.missing != self.missing:
            log.error("the broker lacks what messages need", missing=tuple(restored.missing.values()))
        if self.missing and not restored.missing:
            log.info("the broker has all exchanges and queues again")
        self.missing = restored.missing
        if restored.absent and restored.absent != self.absent:
            log.warning(
                "the broker has nothing for the live view, which is off until it has; all else works",
                missing=tuple(restored.absent.values()),
            )
        if self.absent and not restored.absent:
            log.info("the broker has what the live view needs")
        self.absent = restored.absent

    def _note_unsafe(self, unsafe: tuple[str, ...]) -> None:
        if unsafe and unsafe != self.unsafe:
            log.error("queues of the broker may lose messages", unsafe=unsafe)
        if self.unsafe and not unsafe:
            log.info("no queue of the broker loses messages any more")
        self.unsafe = unsafe


@asynccontextmanager
async def _connection(address: URL, name: str) -> AsyncIterator[Connection]:
    server = _node(address)
    connection = Connection(address, client_properties={"connection_name": name})
    try:
        async with bounded(f"cannot connect to the broker at {server}", REPLY_TIMEOUT):
            try:
                await connection.connect()
            except (ProbableAuthenticationError, InvalidFrameError) as error:
                raise BrokerUnavailable(f"the broker at {server} {describe_refusal(error, address)}") from error
        yield connection
    finally:
        with suppress(BrokerUnavailable):
            async with bounded("closing a connection", CLOSE_TIMEOUT):
                await connection.close()


def _node(address: URL) -> str:
    return f"{address.host}:{address.port or 'default port'}"


def _completed(address: URL) -> URL:
    """Return the address with user and heartbeat in it, guest and `HEARTBEAT` unless it says otherwise."""
    if address.user is None:
        address = address.with_user("guest").with_password("guest")
    return address if "heartbeat" in address.query else address.update_query(heartbeat=HEARTBEAT)
