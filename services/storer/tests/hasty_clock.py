"""A clock for tests in which nobody waits long."""

from fairprice.runtime.clock import SystemClock


class HastyClock(SystemClock):
    """Sleeps a part of what it is asked for only, and keeps what that was; it tells the time as it is."""

    def __init__(self, speed: float = 1000) -> None:
        self.speed = speed
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Return after the part of so long."""
        self.sleeps.append(seconds)
        await super().sleep(seconds / self.speed)
