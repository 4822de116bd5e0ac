"""Which events stand for an interval of the exchange's time."""


def is_sampled(event_time: int, previous_event_time: int | None, interval: int) -> bool:
    """Return whether a diff is the first one of its interval; all times in microseconds, interval 0 samples each one.

    `previous_event_time` is that of the diff before it. Nothing else is needed, so replicas and replays choose alike.
    """
    if interval == 0 or previous_event_time is None:
        return True
    return event_time // interval != previous_event_time // interval
