"""One process that plays, for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.robustness.fuzz.runner import Player


@pytest.fixture(scope="session")
def player() -> Iterator[Player]:
    found = Player()
    yield found
    found.close()
