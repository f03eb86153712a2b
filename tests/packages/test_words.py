"""uv's explanations as sentences, pip's settings as uv's, and who foreign code runs as."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import PythonSource
from cmbcluster.errors import PackagesUnavailable, StartRefused
from cmbcluster.packages import account, sentences
from cmbcluster.packages.pip_words import in_words_of_uv
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.packages.tool import UvTool
from cmbcluster.settings import Settings

SOURCE = PythonSource(("x",), "3.12")
DATED = PythonSource(("x",), "3.12", "2015-01-01")
NO_SOLUTION = "error: No solution found when resolving dependencies\n  cause: Because "


@pytest.mark.parametrize(
    ("said", "source", "what"),
    [
        (
            "nope-zz was not found in the package registry and you require nope-zz, we can conclude that your "
            "requirements are unsatisfiable.",
            SOURCE,
            "There is no package “nope-zz”.",
        ),
        (
            "scipy>=1.12 depends on numpy>=1.22 and you require numpy<1.20 and scipy>=1.12, we can conclude that "
            "your requirements are unsatisfiable.",
            SOURCE,
            "These requirements do not go together: numpy<1.20 and scipy>=1.12.",
        ),
        (
            "there is no version of numpy==999 and you require numpy==999, we can conclude that your requirements "
            "are unsatisfiable.",
            SOURCE,
            "There is no version numpy==999.",
        ),
        (
            "tensorflow==1.15.0 has no wheels with a matching Python ABI tag (e.g., `cp312`) and you require "
            "tensorflow==1.15, we can conclude that your requirements are unsatisfiable.",
            SOURCE,
            "tensorflow has no file for Python 3.12 on this kind of machine.",
        ),
        (
            "there are no versions of jupyterlab and you require jupyterlab, we can conclude that your requirements "
            "are unsatisfiable.\n\nhint: `jupyterlab` was filtered by `exclude-newer` to only include packages "
            "uploaded before 2015-01-02T00:00:00Z.",
            DATED,
            "No version of jupyterlab that fits was published by 2015-01-01.",
        ),
        (
            "the requested Python version (3.10) does not satisfy Python>=3.12,<3.14 and denario==1.0.0 depends on "
            "Python>=3.12,<3.14, we can conclude that denario==1.0.0 cannot be used.",
            PythonSource(("x",), "3.10"),
            "denario==1.0.0 needs Python >=3.12,<3.14, and 3.10 was chosen.",
        ),
    ],
)
def test_a_resolution_that_failed_says_the_one_fact_that_helps(said: str, source: PythonSource, what: str) -> None:
    error = sentences.resolving(NO_SOLUTION + said, source)
    assert isinstance(error, PackagesFailed)
    assert (error.reason, error.what) == (StopReason.RESOLVE_FAILED, what)
    assert error.then
    assert error.log_tail


def test_an_index_that_does_not_answer_is_not_the_authors_fault() -> None:
    said = (
        "error: Request failed after 3 retries in 9.9s\n  cause: Failed to fetch: http://user:pa55@mirror.example/x/\n"
        "  cause: client error (Connect)\n  cause: Connection refused (os error 111)"
    )
    away = sentences.resolving(said, SOURCE)
    assert isinstance(away, PackagesUnavailable)
    assert away.retryable
    refused = sentences.resolving("error: HTTP status client error (403 Forbidden) for url (…)", SOURCE)
    assert isinstance(refused, PackagesUnavailable)
    assert not refused.retryable
    shown = sentences.tail(said)
    assert "pa55" not in shown
    assert "mirror.example" not in shown
    assert "Failed to fetch: (address)" in shown


def test_a_full_disk_is_one_whoever_noticed() -> None:
    said = "error: failed to write to file `/x/.tmp`: No space left on device (os error 28)"
    for error in (sentences.resolving(said, SOURCE), sentences.installing(said)):
        assert isinstance(error, PackagesFailed)
        assert error.reason is StopReason.DISK_FULL


def test_what_is_not_recognised_is_shown_not_guessed() -> None:
    error = sentences.resolving("error: something entirely new", SOURCE)
    assert isinstance(error, PackagesFailed)
    assert error.what == "The packages could not be resolved."
    assert "something entirely new" in error.log_tail


def test_a_distribution_that_cannot_be_built_is_named() -> None:
    error = sentences.installing("error: Failed to build `classy==3.2.0`\n  cause: The build backend returned an error")
    assert isinstance(error, PackagesFailed)
    assert error.what.startswith("classy has no ready-made file")


def test_pip_files_and_variables_reach_uv(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text(
        "[global]\nindex-url = https://mirror.example/simple\ntimeout = 30\n"
        "[install]\nfind-links =\n    /opt/one\n    /opt/two\ntrusted_host = mirror.example\n"
    )
    made = in_words_of_uv(
        {"PIP_CERT": "/etc/ca.pem", "PIP_EXTRA_INDEX_URL": "https://a.example https://b.example"}, tmp_path
    )
    assert made["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert made["UV_INDEX"] == "https://a.example https://b.example"
    assert made["UV_FIND_LINKS"] == "/opt/one,/opt/two"
    assert made["UV_INSECURE_HOST"] == "mirror.example"
    assert made["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert made["UV_HTTP_TIMEOUT"] == "30"


def test_uv_own_choices_win(tmp_path: Path) -> None:
    own = {"PIP_INDEX_URL": "https://pip.example", "UV_INDEX_URL": "https://uv.example"}
    assert "UV_DEFAULT_INDEX" not in in_words_of_uv(own, tmp_path)
    file = tmp_path / ".config" / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[[index]]\nurl = "https://uv.example"\n')
    assert "UV_DEFAULT_INDEX" not in in_words_of_uv({"PIP_INDEX_URL": "https://pip.example"}, tmp_path)


def test_ours_is_not_passed_on_to_build_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMB_REDIS_URL", "redis://:secret@redis")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("UV_PYTHON", "3.8")
    tool = UvTool(Settings(data_dir=tmp_path / "data", _env_file=None))
    assert not any("secret" in value for value in tool.environment.values())
    assert "UV_PYTHON" not in tool.environment
    assert tool.environment["UV_CACHE_DIR"] == str(tmp_path / "data" / "uv-cache")


def test_versions_for_a_cluster_are_of_the_index_of_its_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example")
    index: dict[str, Any] = {"data_dir": tmp_path / "data", "package_index_url": "https://mirror.example/simple"}
    cluster = Settings(**index, runtime="kubernetes", workspace_image="w", _env_file=None)
    assert UvTool(cluster).environment["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert UvTool(Settings(**index, _env_file=None)).environment["UV_DEFAULT_INDEX"] == "https://pip.example"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://dated.example")
    assert UvTool(cluster).environment["UV_DEFAULT_INDEX"] == "https://dated.example"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
class TestAsRoot:
    def test_environments_are_never_root(self) -> None:
        assert account.account_for_others("nobody").uid != 0
        with pytest.raises(StartRefused, match="which is root"):
            account.account_for_others("root")
        with pytest.raises(StartRefused, match="no account “nosuchaccount”"):
            account.account_for_others("nosuchaccount")

    def test_a_folder_the_account_cannot_pass_is_named(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        with pytest.raises(StartRefused, match="cannot pass through"):
            UvTool(Settings(data_dir=closed / "data", _env_file=None)).prepare()
