"""``cmbcluster`` over a database that can be taken away: ``python -m tests.security.faulty up``.

While the file ``database-away`` lies in the data folder, every statement fails in the driver
as it does when the file system below it is gone. Everything above the driver is the real one.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from cmbcluster import cli
from cmbcluster.db import sqlite

SWITCH = Path(os.environ["CMB_DATA_DIR"]) / "database-away"
_visit = sqlite._Cursor._visit


def _visit_or_fail(self: sqlite._Cursor, act: Any, operation: Any, parameters: Any) -> Any:
    if SWITCH.exists():
        self._adapt_connection._handle_exception(sqlite3.OperationalError("disk I/O error"))
    return _visit(self, act, operation, parameters)


if __name__ == "__main__":
    sqlite._Cursor._visit = _visit_or_fail  # type: ignore[method-assign]
    sys.argv[0] = "cmbcluster"
    cli.main()
