"""Output on a terminal."""

from __future__ import annotations

import logging
import sys

import pytest

from vsr.system.progress import TerminalFormatter

TABLE = "method     PSNR\nbicubic   34.00\nfsrcnn *  43.75\nPSNR in dB; * the best PSNR"


@pytest.mark.parametrize(
    ("terminal", "no_color", "level", "text", "shown"),
    [
        (True, "", logging.INFO, TABLE, TABLE.replace("fsrcnn *  43.75", "\x1b[1mfsrcnn *  43.75\x1b[0m")),
        (True, "", logging.WARNING, "warning   a", "\x1b[33mwarning   a\x1b[0m"),
        (True, "", logging.ERROR, "failed    a", "\x1b[31mfailed    a\x1b[0m"),
        (True, "1", logging.WARNING, "warning   a", "warning   a"),
        (False, "", logging.INFO, TABLE, TABLE),
        (False, "", logging.WARNING, "warning   a", "warning   a"),
        (False, "", logging.WARNING, "a", "warning   a"),
        (True, "", logging.WARNING, "a", "\x1b[33mwarning   a\x1b[0m"),
    ],
)
def test_colours_are_for_terminals(
    terminal: bool, no_color: str, level: int, text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    record = logging.LogRecord("vsr", level, "", 0, text, None, None)
    assert TerminalFormatter("%(message)s").format(record) == shown
