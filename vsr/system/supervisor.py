"""Runs one command in a process group of its own and ends the whole group with it, or with whoever asked for it.

Started as a script by `vsr.system.jobs`, with the standard library only. Standard input is a line to the parent: "end" asks the
group to end (SIGTERM), "kill" does not ask (SIGKILL), and the end of the file says that the parent is gone, however it died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

GRACE = 20.0  # seconds for an orphaned group to write its checkpoint


def main(command: list[str]) -> int:
    """The exit status of the command, 128 + number where a signal ended it, as shells count."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def signalled(number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # gone already
            os.killpg(child.pid, number)

    def listen() -> None:
        # os.read and not sys.stdin: a thread inside a buffered read aborts the interpreter when it ends.
        while said := os.read(0, 64):
            signalled(signal.SIGKILL if b"kill" in said else signal.SIGTERM)
        signalled(signal.SIGTERM)
        time.sleep(GRACE)
        signalled(signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    status = child.wait()
    # Processes that the command started and left, such as the other ranks of a run whose first one died, end with it.
    signalled(signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
