"""The exchange's limits: how often an address may ask, connect and talk, and what it gets beyond that."""

from collections import Counter, deque
from dataclasses import dataclass, field

from simulator.knobs import Knobs
from simulator.replies import Reply, banned, over_limit

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


class Window:
    """Counts what happened within a span of time, which slides or starts over at each multiple of its length."""

    def __init__(self, length_us: int, *, sliding: bool = False) -> None:
        self._length_us = length_us
        self._sliding = sliding
        self._events: deque[tuple[int, int]] = deque()
        self._used = 0
        self._start_us = 0

    def add(self, now_us: int, amount: int = 1) -> int:
        """Counts `amount` and returns the sum inside the window."""
        if self._sliding:
            while self._events and self._events[0][0] <= now_us - self._length_us:
                self._used -= self._events.popleft()[1]
            self._events.append((now_us, amount))
        elif now_us // self._length_us != self._start_us:
            self._start_us, self._used = now_us // self._length_us, 0
        self._used += amount
        return self._used

    def left_us(self, now_us: int) -> int:
        """Time until a fixed window starts over."""
        return self._length_us - now_us % self._length_us


@dataclass
class Address:
    """What one client address has used up."""

    weight: Window = field(default_factory=lambda: Window(MINUTE_US))
    requests: Window = field(default_factory=lambda: Window(5 * MINUTE_US))
    attempts: Window = field(default_factory=lambda: Window(5 * MINUTE_US))
    used_weight: int = 0
    refusals: int = 0
    bans: int = 0
    banned_until_us: int = 0
    asked_to_wait_until_us: int = 0


class Limits:
    """Limits by address; every breach is counted by its kind, so that a test can demand that there was none."""

    def __init__(self, knobs: Knobs) -> None:
        self.breaches: Counter[str] = Counter()
        self._knobs = knobs
        self._addresses: dict[str, Address] = {}

    def message_window(self) -> Window:
        """The window in which one connection's incoming messages are counted."""
        return Window(SECOND_US, sliding=self._knobs.message_window == "sliding")

    def too_many_messages(self, window: Window, now_us: int) -> bool:
        """Counts a message of a connection; true when it is one too many."""
        return self._breach("messages", window.add(now_us) > self._knobs.messages_per_second)

    def too_many_attempts(self, address: str, now_us: int) -> bool:
        """Counts an attempt to open a websocket; true when it is one too many."""
        attempts = self._address(address).attempts.add(now_us)
        return self._breach("connection_attempts", attempts > self._knobs.attempts_per_5_minutes)

    def too_many_streams(self, count: int) -> bool:
        """Whether a connection may not hold this many streams."""
        return self._breach("streams", count > self._knobs.streams_per_connection)

    def used_weight(self, address: str) -> int:
        """Weight used in the present minute."""
        return self._address(address).used_weight

    def weights(self) -> dict[str, int]:
        """Weight used in the present minute, by address."""
        return {name: address.used_weight for name, address in self._addresses.items()}

    def charge(self, address: str, weight: int, now_us: int) -> Reply | None:
        """Counts one request; returns the refusal when it is over a limit, else None."""
        client = self._address(address)
        self._breach("request_during_wait", broken=now_us < client.asked_to_wait_until_us)
        client.used_weight = client.weight.add(now_us, weight)
        requests = client.requests.add(now_us)
        if now_us < client.banned_until_us:
            return self._ban_reply(client, now_us)
        over_weight = client.used_weight > self._knobs.weight_per_minute
        if not over_weight and requests <= self._knobs.raw_requests_per_5_minutes:
            client.refusals = 0
            return None
        self._breach("weight" if over_weight else "raw_requests", broken=True)
        client.refusals += 1
        if client.refusals > self._knobs.requests_before_ban:
            self._ban(client, now_us)
            return self._ban_reply(client, now_us)
        window = client.weight if over_weight else client.requests
        return over_limit(-(-window.left_us(now_us) // SECOND_US), self._knobs.weight_per_minute)

    def note_wait(self, address: str, wait_s: int, now_us: int) -> None:
        """The address was told to wait; a request before that is over counts as a breach."""
        self._address(address).asked_to_wait_until_us = now_us + wait_s * SECOND_US

    def _ban(self, client: Address, now_us: int) -> None:
        """Bans for 2 minutes, then twice as long each time, up to 3 days."""
        seconds = min(self._knobs.first_ban_s * 2**client.bans, self._knobs.longest_ban_s)
        client.bans += 1
        client.refusals = 0
        client.banned_until_us = now_us + int(seconds * SECOND_US)

    def _ban_reply(self, client: Address, now_us: int) -> Reply:
        return banned(-(-(client.banned_until_us - now_us) // SECOND_US), client.banned_until_us // 1000)

    def _breach(self, kind: str, broken: bool) -> bool:  # noqa: FBT001 - the one thing it is about
        if broken:
            self.breaches[kind] += 1
        return broken

    def _address(self, address: str) -> Address:
        return self._addresses.setdefault(address, Address())
