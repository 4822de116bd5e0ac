"""Prints what a command has found, until nobody reads on."""

import os
import sys


class NobodyReads(Exception):
    """Whoever read the standard output has gone, as `head` does when it has seen enough."""


def print_line(text: str) -> None:
    """Print a line at once; raises `NobodyReads`."""
    try:
        print(text, flush=True)  # noqa: T201  the subject
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in the buffer at the exit
        raise NobodyReads from error
