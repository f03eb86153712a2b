"""The OpenAPI document as a page for people: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cmbcluster.plain.frame import HEADERS, Act, document

_CODE = re.compile(r"`([^`]*)`")


def page(request: Request, api: dict[str, Any]) -> Response:
    """Every route with what it takes and answers."""
    base = str(api["servers"][0]["url"])
    ways = [
        _way(base, path, method, operation)
        for path, operations in api["paths"].items()
        for method, operation in operations.items()
    ]
    shapes = [_shape(name, schema) for name, schema in sorted(api["components"]["schemas"].items())]
    body = document(
        title="The API",
        say=(
            "What you do on the pages, for scripts. Make a token in Settings, under Tokens, and send it as "
            "<code>Authorization: Bearer cmb_…</code>. Errors are problem documents with the sentences of the pages."
        ),
        acts=(Act("Tokens", "/settings?tab=tokens"), Act("OpenAPI document", f"{base}/openapi.json")),
        host=request.url.netloc,
        home="",
        facts=f"<h2>Routes</h2>{''.join(ways)}<h2>Shapes</h2>{''.join(shapes)}",
        wide=True,
    )
    return Response(body, headers={name.decode(): value.decode() for name, value in HEADERS})


def _way(base: str, path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [
        (
            item["name"],
            item["in"],
            _kind(item["schema"]),
            item.get("description") or item["schema"].get("description", ""),
        )
        for item in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        rows.append(("body", "JSON", _kind(body), ""))
    good: dict[str, Any] = next(
        (answer for status, answer in operation["responses"].items() if status.startswith("2")), {}
    )
    kinds = [_kind(content["schema"]) for content in good.get("content", {}).values() if "schema" in content]
    answers = escape(", ".join(kinds) or "nothing")
    scope = escape(str(operation.get("x-scope", "")))
    return (
        f"<section><h3><b>{escape(method.upper())}</b> <code>{escape(base + path)}</code></h3>"
        f"<p>{_words(operation.get('description', ''))}</p>"
        f'<p class="sm">Scope <code>{scope}</code> · answers {answers}</p>{_table(rows)}</section>'
    )


def _shape(name: str, schema: dict[str, Any]) -> str:
    needed = set(schema.get("required", ()))
    rows = [
        (key, "" if key in needed else "may be left out", _kind(value), value.get("description", ""))
        for key, value in schema.get("properties", {}).items()
    ]
    if not rows:
        rows = [(", ".join(map(str, schema.get("enum", ()))), "", _kind(schema), "")]
    return f"<section><h3>{escape(name)}</h3><p>{_words(schema.get('description', ''))}</p>{_table(rows)}</section>"


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{escape(place)}</td><td>{_words(says)}</td></tr>"
        for name, place, kind, says in rows
    )
    return f'<div class="scroll" tabindex="0"><table>{lines}</table></div>'


def _words(text: str) -> str:
    """A sentence; what stands between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(each) for each in schema[several])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "enum" in schema:
        return " or ".join(str(value) or "nothing" for value in schema["enum"])
    return str(schema.get("format") or schema.get("const") or schema.get("type", ""))
