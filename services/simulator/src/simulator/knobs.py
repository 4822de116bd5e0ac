"""Choices the exchange's documents leave open, and the pace of its clock."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Knobs:
    """How this exchange behaves where the reference says [?]; each default is the most common observation.

    Times are in seconds (or milliseconds where the name says so) of exchange time: with `time_scale` 10 the exchange
    lives ten times faster than the wall clock, its windows, pings, limits and lifetimes included.
    """

    time_scale: float = 1.0
    snapshot_lags_ms: tuple[float, ...] = (40.0, 150.0, 0.0)
    """Lag of the replica that answers the n-th depth request, in turn: a later snapshot may be an older one."""
    most_levels: int | None = None
    """A snapshot holds no more levels a side than this, whatever was asked for; None: as many as the venue gives."""
    send_unchanged_windows: bool = True
    """A window in which ids advanced but no level changed is sent with empty `b` and `a`."""
    stream_servers_ms: tuple[float, ...] = (0.0,)
    """How much later than the first each stream server ends its windows, to 10 ms: servers cut diffs at different ids.

    The n-th connection is served by the n-th of them, in turn.
    """
    ack_order: Literal["before", "after", "random"] = "random"
    """Whether the reply to SUBSCRIBE comes before or after the first event of the new streams."""
    error_shape: Literal["nested", "bare"] = "nested"
    """`{"error":{"code":..,"msg":..},"id":..}` as seen live, or `{"code":..,"msg":..}` as documented."""
    wrap_replies: bool = False
    """Replies on a combined connection are wrapped like events."""
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 60.0
    pong_must_match: bool = True
    """Only a PONG with the payload of the last PING keeps the connection alive."""
    messages_per_second: int = 5
    message_window: Literal["sliding", "fixed"] = "sliding"
    streams_per_connection: int = 1024
    too_many_streams: Literal["error", "close"] = "error"
    attempts_per_5_minutes: int = 300
    attempt_refusal: int = 429
    """HTTP status of the handshake beyond the limit of attempts."""
    lifetime_s: float = 86_400.0
    lifetime_close_code: int = 1001
    shutdown_notice_s: float | None = None
    """`serverShutdown` this long before the 24-hour cut; None: the cut comes without notice."""
    weight_per_minute: int = 6000
    raw_requests_per_5_minutes: int = 300_000
    requests_before_ban: int = 5
    """Requests answered with 429 in a row before the address is banned with 418."""
    first_ban_s: float = 120.0
    longest_ban_s: float = 259_200.0
    ban_cuts_streams: bool = False
    """Whether a banned address loses its websockets, too."""
    backlog_bytes: int = 32 * 1024 * 1024
    """A client that leaves more than this unread in the market's real-time feed is cut off (1008)."""
    wait_for_snapshot_s: float = 30.0
    """Patience of a playback, in seconds of its own clock, for a client to ask for a snapshot where it needs one.

    So long that a client on a busy machine has the same books as one on an idle machine."""
