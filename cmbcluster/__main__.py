"""``python -m cmbcluster`` is the same as ``cmbcluster``."""

from cmbcluster.cli import main

if __name__ == "__main__":
    main()
