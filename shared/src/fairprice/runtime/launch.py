"""How a program begins: its modules take half a second to load, and Ctrl-C has nothing to drain meanwhile."""

import signal
from importlib import import_module


def launch(module: str) -> int:
    """Run `main` of a program's module and return its exit code; until that handles signals, Ctrl-C ends it in silence.

    Nothing else may be imported before that takes long.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    exit_code: int = import_module(module).main()
    return exit_code
