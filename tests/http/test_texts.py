"""Text that crosses a border: paths to return to, file names, cells, browsers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.http.texts import attachment, browser_words, cell, own_path


@pytest.mark.parametrize(
    "path", ["/", "/catalogue", "/environments/1?tab=log#x", "/open/planck-k7q2mx", "/a/b%20c", "/a//b"]
)
def test_paths_of_ours_are_kept(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "http:evil",
        "http://evil.example",
        "https://us@evil.example",
        "javascript:alert(1)",
        "/\tevil",
        "/\r\nSet-Cookie: a=b",
        "\t//evil.example",
        " /x",
        "/x y",
        "/\x00",
        "/ünïcode",
        "／／evil.example",
        "/%0d%0a" + "x" * 2000,
        "catalogue",
        "?next=/x",
    ],
)
def test_everything_else_becomes_the_root(path: str) -> None:
    assert own_path(path) == "/"


@given(st.text(max_size=300))
def test_a_path_never_leaves_the_host(text: str) -> None:
    path = own_path(text)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.isascii()
    assert path.isprintable()


@given(st.text(max_size=300))
def test_a_file_name_never_breaks_its_header(name: str) -> None:
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2
    assert value.count(";") == 2
    assert "/" not in value
    assert "\\" not in value


def test_file_names_keep_their_letters() -> None:
    assert attachment("é.log") == "attachment; filename=\"e.log\"; filename*=UTF-8''%C3%A9.log"
    assert attachment('..\\a";\r\nX: y') == "attachment; filename=\"_a__X_ y\"; filename*=UTF-8''_a__X_%20y"
    assert 'filename="download"' in attachment("...")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_cells_are_no_formulas(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell("plain -1") == "plain -1"


def test_browsers_have_names() -> None:
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
    assert browser_words(chrome) == "Chrome on Linux"
    assert browser_words(chrome + " Edg/130.0") == "Edge on Linux"
    assert (
        browser_words("Mozilla/5.0 (Macintosh; Intel Mac OS X 14.1; rv:132.0) Gecko/20100101 Firefox/132.0")
        == "Firefox on macOS"
    )
    assert browser_words("curl/8.0") == "curl"
    assert browser_words("\x1b[31m") == "Unknown browser"
