"""What runs first: from here until the command has its own handlers, Ctrl-C ends the process silently.

Nothing was opened yet, and a traceback of Python's imports would tell nobody anything. Imports nothing that
Python has not imported already.
"""

import gc
import os
import signal

_STANDARD = range(3)
_OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""What imports make stays: looking through it as often as Python does takes a tenth of the start."""


def run() -> None:
    """Run the command line of this process and exit."""
    _take_standard_descriptors()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the caller wants it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vhdx.cli import main  # noqa: PLC0415  this is what takes a while

    main.run()


def _take_standard_descriptors() -> None:
    """Open nothing in place of standard streams that whoever called us closed.

    Their numbers would else go to the next files that are opened: a mount, which puts nothing in place of
    its terminal, would lose its image. To Python the streams stay closed (None).
    """
    try:
        descriptor = os.open(os.devnull, os.O_RDWR)
        while descriptor in _STANDARD:
            os.set_inheritable(descriptor, True)  # whom we start must not write into other files either
            descriptor = os.open(os.devnull, os.O_RDWR)
    except OSError:  # no such device here, or no descriptor left: whatever is opened next will say so
        return
    os.close(descriptor)
