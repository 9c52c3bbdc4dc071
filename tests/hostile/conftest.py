"""Fixtures of tests/transport, and what came of all cells, which run once for all tests."""

from __future__ import annotations

import ssl

import pytest

from ..scenario.conftest import mailstrom  # noqa: F401
from ..transport.conftest import sender  # noqa: F401
from .cells import Cell, cells
from .running import run


@pytest.fixture(scope="session")
def found(tmp_path_factory, certificates) -> dict[Cell, list[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl.SSLContext, "load_default_certs", lambda context: None)
        return run(cells(), tmp_path_factory.mktemp("cells"), certificates)
