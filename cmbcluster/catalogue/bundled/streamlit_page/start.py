"""Starts a Streamlit page that is shipped inside an installed package.

Why it exists: such packages bring a start command of their own that hides the address and
the port, and they load for many seconds at the first visit. Here the page's slow imports
happen before the port answers, so that "ready" means the first screen comes at once, and a
package that cannot be imported ends the program with its reason instead of a broken page.

It runs with the packages of its environment only and must never import cmbcluster.

    python start.py PACKAGE PATH [--import MODULE]... [-- STREAMLIT OPTIONS]
"""

from __future__ import annotations

import argparse
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path


def page_of(package: str, path: str) -> Path:
    """The file ``path`` inside the installed ``package``, which is not imported for that."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The package {package} is not installed here.")
    for folder in spec.submodule_search_locations:
        page = Path(folder, path)
        if page.is_file():
            return page
    raise SystemExit(f"The package {package} has no {path}.")


def main(arguments: list[str]) -> None:
    """Import what is slow, then hand over to Streamlit."""
    own, options = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        own, options = arguments[:cut], arguments[cut + 1 :]
    parser = argparse.ArgumentParser(prog="start.py")
    parser.add_argument("package")
    parser.add_argument("path")
    parser.add_argument("--import", dest="modules", action="append", default=[])
    wanted = parser.parse_args(own)
    page = page_of(wanted.package, wanted.path)
    for module in wanted.modules:
        importlib.import_module(module)

    from streamlit.web.cli import main as streamlit

    sys.argv = ["streamlit", "run", str(page), *options]
    streamlit(prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
