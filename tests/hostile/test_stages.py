"""Drop, reset, stall, drip, flood, babble, a farewell and one reply too many: at every stage, in every mode.

Of each cell: status, code, the stage in the reason, whether the next server was asked, the mark of what may
be delivered, the time, what is left open, and whether anybody else was affected.
"""

from __future__ import annotations

import pytest

from .cells import Cell, cells


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_cell(found, cell: Cell) -> None:
    assert found[cell] == []
