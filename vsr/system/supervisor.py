"""Run one command in its own process group, and end the group with the command or with the parent process.

`vsr.system.jobs` starts this file as a script, which needs the standard library only. The parent process writes to the script's
standard input: "end" sends SIGTERM to the group, "kill" sends SIGKILL, and the end of the input means that the parent has died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

GRACE = 20.0  # seconds in which an orphaned group can write its checkpoint


def supervise(command: list[str]) -> int:
    """Run a command and return its exit status; 128 + the signal's number if a signal ended the command."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def signal_group(number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the group has ended
            os.killpg(child.pid, number)

    def listen() -> None:
        # Not sys.stdin: a thread inside a buffered read aborts the interpreter at exit.
        while word := os.read(0, 64):
            signal_group(signal.SIGKILL if b"kill" in word else signal.SIGTERM)
        signal_group(signal.SIGTERM)
        time.sleep(GRACE)
        signal_group(signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    status = child.wait()
    # End processes that the command left behind, such as the other ranks of a run whose first rank died.
    signal_group(signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    os._exit(supervise(sys.argv[1:]))
