"""Ctrl-C and SIGTERM end a program with one sentence and a status, at whatever moment they come.

This module imports nothing that takes time, so that a script can call `guard` before it imports what does.
"""

import os
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_sentence = "linphase was interrupted: the same command can be given again."


def guard(name: str = "__main__", sentence: str = _sentence) -> None:
    """Let an interrupt end this process at once, with a sentence; a script passes its ``__name__``.

    The end is as abrupt as that by a kill, which files and workers bear anyway. An exception instead could be
    caught, or printed and forgotten, by whatever code happens to run. Nothing is done where the script is
    only imported, as workers do, and handlers that somebody else has set stay.
    """
    global _sentence
    if name == "__main__":
        _sentence = sentence
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                signal.signal(number, _leave)


def _leave(number: int, frame: object) -> None:
    line = "\n" if os.isatty(2) else ""  # a terminal shows ^C, or a progress bar
    os.write(2, f"{line}{_sentence}\n".encode())
    os._exit(128 + number)
