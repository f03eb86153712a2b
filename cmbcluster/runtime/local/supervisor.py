"""Starts ``supervision`` for one run: ``python -I -S supervisor.py FOLDER``.

A file of its own, since Python compiles the file it is started with anew each time and
keeps the compiled form of what that imports. Must never do more than this.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Isolated mode puts no folder on the path; this package's own is all that is needed.
    sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))
    from cmbcluster.runtime.local.supervision import main

    sys.exit(main(sys.argv[1]))
