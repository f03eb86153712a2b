"""What an environment can be made of: packages of an index, or a container image.

Both are kept as JSON. A source of packages has no ``kind``, as in the rows from before
there were images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cmbcluster.domain.images import KIND, ImageSource
from cmbcluster.domain.sources import PythonSource

Source = PythonSource | ImageSource


def source_of(kept: Mapping[str, Any]) -> Source:
    """The source that ``source_dict`` made ``kept`` from."""
    return ImageSource.from_dict(kept) if kept.get("kind") == KIND else PythonSource.from_dict(kept)


def source_dict(source: Source) -> dict[str, Any]:
    """What is kept of a source."""
    return source.as_dict() if isinstance(source, ImageSource) else asdict(source)
