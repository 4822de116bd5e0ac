"""Tables of rows of which one test looks at all.

A test of its own costs milliseconds before it has looked at anything, in each worker and in who hands the tests out.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest

Test = Callable[..., None]

LONGEST_NAME = 400


def each_row(
    names: str | tuple[str, ...], rows: Iterable[Any], *, ids: Callable[[Any], object] = repr
) -> Callable[[Test], Test]:
    """Return a decorator that gives a test each row, as `pytest.mark.parametrize` does, but within one test.

    All rows are looked at, whatever the others do; those that fail are raised in one group, each with what `ids` makes
    of it. For tests that need nothing of their own for each row: no file, no clock, no event loop. None may skip.
    """
    columns, table = (names if isinstance(names, tuple) else (names,)), list(rows)
    if not table:
        raise ValueError(f"a table without rows for {names} shows nothing")
    if any(isinstance(row, type(pytest.param())) for row in table):
        raise TypeError(f"a row for {names} is a pytest.param: its marks would count for nothing")

    def decorate(test: Test) -> Test:
        if inspect.iscoroutinefunction(test):
            raise TypeError(f"{test.__name__} is a coroutine: each row needs an event loop of its own, so a test")

        @wraps(test)
        def of_all(*instance: object, **others: object) -> None:
            failures = []
            for row in table:
                values = row if isinstance(names, tuple) else (row,)
                try:
                    test(*instance, **dict(zip(columns, values, strict=True)), **others)
                except pytest.skip.Exception:
                    raise AssertionError(f"row {named(ids(row))} skips, and with it all behind it") from None
                except Exception as error:  # noqa: BLE001  raised below, with its row
                    error.add_note(f"row: {named(ids(row))}")
                    failures.append(error)
            if failures:
                raise ExceptionGroup(f"{len(failures)} of {len(table)} rows", failures)

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        of_all.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]  # pytest asks for these
        return of_all

    return decorate


def named(row: object) -> str:
    """Return a row as it is written, of a very long one both ends."""
    text, half = str(row), LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]} ... {text[-half:]}"
