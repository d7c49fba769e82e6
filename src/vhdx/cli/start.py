"""What runs first: from here until the command has its own handlers, Ctrl-C ends the process silently.

Nothing was opened yet, and a traceback of Python's imports would tell nobody anything. Imports nothing.
"""

import signal


def run() -> None:
    """Run the command line of this process and exit."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the caller wants it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vhdx.cli import main  # noqa: PLC0415  this is what takes a while

    main.run()
