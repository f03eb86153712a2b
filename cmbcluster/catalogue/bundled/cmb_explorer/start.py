"""Starts the explorer when what is slow to load has been loaded.

Ready then means that the first screen comes soon, and a package that cannot be imported ends
the program with its reason. It runs with the packages of its own environment and must never
import cmbcluster.

    python start.py [STREAMLIT OPTIONS]
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

SLOW = ("camb", "healpy", "astropy.io.fits", "plotly.graph_objects")


def main(options: list[str]) -> None:
    """Import what is slow, then hand over to Streamlit."""
    for module in SLOW:
        importlib.import_module(module)

    from streamlit.web.cli import main as streamlit

    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("app.py")), *options]
    streamlit(prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
