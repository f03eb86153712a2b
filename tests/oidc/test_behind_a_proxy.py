"""The real platform with a public address of its own, as a proxy that ends TLS sees it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from html import unescape
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import free_port, start_platform, stop_platform
from tests.oidc.served import CLIENT_ID, CLIENT_SECRET, serve

pytestmark = pytest.mark.timeout(300)


async def test_behind_a_proxy_that_ends_tls() -> None:
    data, port = Path(tempfile.mkdtemp(prefix="cmb-oidc-")), free_port()
    data.chmod(0o755)
    home = "https://cmb.example.org"
    with serve(f"{home}/auth/lab/callback") as provider:
        lab = {
            "id": "lab", "name": "Lab", "issuer": provider.issuer, "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET, "allowed": "everybody",
        }  # fmt: skip
        up = start_platform(data, port, CMB_OIDC_PROVIDERS=json.dumps([lab]), CMB_PUBLIC_URL=home)
        try:
            # As the proxy sends it on: the browser's Host and Origin, without TLS.
            ours = {"Host": "cmb.example.org"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as proxy:
                front = await proxy.get("/", headers=ours)
                assert front.status_code == 200
                assert front.headers["strict-transport-security"]
                own_page = {**ours, "Origin": home, "Sec-Fetch-Site": "same-origin"}
                begun = await proxy.post("/auth/lab/start", data={"next": "/catalogue"}, headers=own_page)
                found = re.search(r'content="0;url=([^"]+)"', begun.text)
                assert found is not None
                back = await provider.visit(unescape(found[1]))
                assert back.startswith(f"{home}/auth/lab/callback?")
                key = re.match(r"__Host-cmb_sign_in=([^;]+);.*; Secure", begun.headers["set-cookie"])
                assert key is not None
                signed_in = await proxy.get(
                    back.removeprefix(home), headers={**ours, "Cookie": f"__Host-cmb_sign_in={key[1]}"}
                )
                assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/catalogue")
                assert "Secure" in signed_in.headers["set-cookie"]
                # An environment's host leads to the dashboard as browsers know it.
                there = await proxy.get("/", headers={"Host": "x-abcdef.cmb.example.org", "Accept": "text/html"})
                assert there.headers["location"] == f"{home}/open/x-abcdef"
                elsewhere = await proxy.get("/x", headers={"Host": f"127.0.0.1:{port}"})
                assert elsewhere.headers["location"] == f"{home}/x"
        finally:
            stop_platform(up)
    shutil.rmtree(data, ignore_errors=True)
