"""How a program begins: its modules take half a second to load, and Ctrl-C has nothing to drain meanwhile."""

import gc
import signal
from importlib import import_module


def launch(module: str) -> int:
    """Run `main` of a program's module and return its exit code; until that handles signals, Ctrl-C ends it in silence.

    Nothing else may be imported before that takes long.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # nothing of what is loaded is garbage, and looking for it takes a tenth of the time
    program = import_module(module)
    gc.freeze()
    gc.enable()
    exit_code: int = program.main()
    return exit_code
