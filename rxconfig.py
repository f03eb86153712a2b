"""Reflex settings. Nothing is decided here: values come from ``cmbcluster.settings``."""

from __future__ import annotations

import reflex as rx

from cmbcluster.settings import load_settings

_settings = load_settings()

config = rx.Config(
    app_name="cmbcluster",
    # The bundle is built for this address and pointed at the real one when it is served.
    api_url="http://localhost:8200",
    deploy_url="http://localhost:8200",
    cors_allowed_origins=[_settings.public_url],
    frontend_packages=["@fontsource-variable/inter@5.3.0", "@fontsource-variable/jetbrains-mono@5.3.0"],
    disable_plugins=[rx.plugins.SitemapPlugin],
    telemetry_enabled=False,
    show_built_with_reflex=False,
)
