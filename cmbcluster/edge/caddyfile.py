"""Caddy's configuration, written once from the settings and never changed while it runs.

There is no routing table: for every request to an environment's host Caddy asks the gate,
and the gate's answer carries the address to dial. What the configuration must never do is
believe a header that came from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cmbcluster.edge.cookies import DOMAIN_ATTRIBUTE, OF_OURS
from cmbcluster.edge.places import Place

# Names that a proxy in front of an application is expected to set. From outside they are lies.
# The first takes every name with an underscore, which some servers read as a hyphen.
FORGEABLE = (
    "*_*",
    "X-Env-*",
    "X-Forwarded-*",
    "Forwarded",
    "X-Real-Ip",
    "X-Forwarded",
    "X-Client-*",
    "X-Cluster-Client-Ip",
    "X-Azure-*",
    "X-Jwt-*",
    "X-Http-Method-Override",
    "Cf-Connecting-Ip",
    "Fastly-Client-Ip",
    "Ssl-Client-*",
    "True-Client-Ip",
    "X-Auth*",
    "X-Webauth-*",
    "X-User*",
    "X-Remote-*",
    "Remote-*",
    # These name another path or another proxy to those that believe them.
    "X-Original-*",
    "X-Rewrite-*",
    "Proxy",
)
# Everything under a name of our own; what we say there ourselves comes after this.
OURS = "X-Cmb-*"
# What a proxy in front of us wrote, under a name that nobody outside can use.
CHAIN = "X-Cmb-Chain"
_ENCODE = """		encode {
			gzip
			minimum_length 1024
			match {
				header Content-Type text/html*
				header Content-Type text/css*
				header Content-Type text/javascript*
				header Content-Type application/javascript*
				header Content-Type application/json*
				header Content-Type image/svg+xml*
			}
		}
"""
# What must not be sent twice gets a connection of its own. One that was kept may be closed by the
# other side at that very moment, and then nobody knows whether it came through. All else that is
# lost in this way is sent again. Nor does an upgrade's connection ever carry anything else.
_ONCE = """		@once not {
			header !X-Env-Ticket
			method GET HEAD OPTIONS
		}
"""
_AWAY = """header Content-Type "text/plain; charset=utf-8"
		header Cache-Control no-store
		header Retry-After 5
		respond "CMBCluster is starting or stopping. Reload this page in a few seconds." 503"""
DIAL_SECONDS = 3
GATE_SECONDS = 10
# The page that says so must not keep people waiting for a gate that is away altogether.
PAGE_SECONDS = 2
# Of several replicas behind a name one may just have gone; another is dialled within this time.
RETRY_SECONDS = 3
GRACE_SECONDS = 2


@dataclass(frozen=True)
class EdgePlan:
    """Everything the configuration depends on.

    ``assets`` is the built frontend, if any, and ``font`` the path of the text face in it,
    for pages on environments' hosts that can load nothing from the dashboard. ``address`` is
    what browsers call the dashboard when a proxy in front ends TLS for us.
    """

    host: str
    port: int
    binds: tuple[str, ...]
    web: Place
    gate: Place
    assets: Path | None
    font: str = ""
    address: str = ""
    behind_proxies: bool = False
    grace_seconds: int = GRACE_SECONDS
    linger_seconds: int = 0

    @property
    def public_url(self) -> str:
        """Absolute URL of the dashboard."""
        if self.address:
            return self.address
        return f"http://{self.host}" if self.port == 80 else f"http://{self.host}:{self.port}"


def _word(text: str) -> str:
    """``text`` as one word of the Caddyfile: no quote, placeholder or line may break out of it."""
    if any(character in text for character in "`\r\n\x00"):
        raise ValueError("a path with a quote or a line break cannot be served")
    return "`" + text.replace("{", "\\{") + "`"


def _dial(place: Place) -> str:
    return _word(f"unix/{place}" if isinstance(place, Path) else str(place))


def _retry(place: Place) -> str:
    """Ask again where a name stands for several replicas; a change is sent again only if nobody took it."""
    if isinstance(place, Path):
        return ""
    return f"""
			lb_try_duration {RETRY_SECONDS}s
			lb_try_interval 100ms"""


def _options(plan: EdgePlan) -> str:
    linger = f"\n\tshutdown_delay {plan.linger_seconds}s" if plan.linger_seconds else ""
    return f"""{{
	admin off
	auto_https off
	persist_config off
	grace_period {plan.grace_seconds}s{linger}
	log {{
		output stderr
		format json
		level ERROR
		# It words every request for a log line that is then not written; what fails is
		# told by another logger.
		exclude http.handlers.reverse_proxy
	}}
	servers {{
		protocols h1
		max_header_size 32KB
		timeouts {{
			read_header 15s
			idle 2m
		}}
	}}
}}
"""


def _strip_forged() -> str:
    return "\n".join(f"\t\trequest_header -{name}" for name in FORGEABLE)


def _keep_chain(plan: EdgePlan) -> str:
    """The addresses that proxies in front of us saw, before everything forwarded is taken away."""
    kept = f"\t\trequest_header {CHAIN} {{http.request.header.X-Forwarded-For}}\n" if plan.behind_proxies else ""
    return f"\t\trequest_header -{OURS}\n{kept}"


def _last_of_its_connection() -> str:
    """Which requests are the last ones that their connection carries.

    Those that come while we are ending, since the next one belongs to another edge. And those
    whose end could be read in two ways: by the time we see a request with a Transfer-Encoding, a
    Content-Length beside it is gone, and in HTTP/1.0 it is the Transfer-Encoding that is gone;
    so they cannot be told and refused.
    What follows such a request is therefore never read. No browser sends either kind.
    """
    return """		@ending {
			vars {http.shutting_down} true
			not header Upgrade *
		}
		header @ending >Connection close
		@chunked header Transfer-Encoding *
		header @chunked >Connection close
		@old protocol http/1.0
		header @old >Connection close
"""


def _font(plan: EdgePlan) -> str:
    if plan.assets is None or not plan.font:
        return ""
    return f"""
		handle /.cmb/inter.woff2 {{
			root * {_word(str(plan.assets))}
			rewrite * {_word(plan.font)}
			header Cache-Control "public, max-age=86400"
			header X-Content-Type-Options nosniff
			file_server
		}}"""


def _dashboard(plan: EdgePlan) -> str:
    assets = ""
    if plan.assets is not None:
        root = _word(str(plan.assets))
        assets = f"""
		@asset {{
			method GET HEAD
			path /assets/*
			file {{
				root {root}
			}}
		}}
		handle @asset {{
			root * {root}
			header Cache-Control "public, max-age=31536000, immutable"
			header X-Content-Type-Options nosniff
			header Cross-Origin-Resource-Policy same-origin
			file_server {{
				precompressed gzip
			}}
		}}"""
    return f"""
http://{plan.host}:{plan.port} {{
	bind {" ".join(plan.binds)}
	route {{
{_last_of_its_connection()}{_keep_chain(plan)}{_strip_forged()}{_font(plan)}{assets}
{_ENCODE}{_ONCE}		reverse_proxy @once {_dial(plan.web)} {{{_retry(plan.web)}
			transport http {{
				dial_timeout {DIAL_SECONDS}s
				keepalive off
			}}
		}}
		reverse_proxy {_dial(plan.web)} {{{_retry(plan.web)}
			transport http {{
				dial_timeout {DIAL_SECONDS}s
				keepalive 60s
			}}
		}}
	}}
	handle_errors 502 503 504 {{
		{_AWAY}
	}}
}}
"""


def _to_application() -> str:
    # What an application says about the storage of a browser is cleaned where it is written, so
    # that heads before the last one are cleaned too; what the gate says comes before that. An
    # upgrade goes through the relay, whose connections are never used twice.
    return f"""		header {{
			defer
			Set-Cookie {_word(DOMAIN_ATTRIBUTE)} ``
			Set-Cookie {_word(OF_OURS)} ``
			-Clear-Site-Data
			-Trailer
		}}
{_ONCE}		reverse_proxy @once {{http.request.header.X-Env-Upstream}} {{
			header_up -X-Env-Upstream
			header_up -Authorization
			transport http {{
				dial_timeout {DIAL_SECONDS}s
				keepalive off
			}}
		}}
		reverse_proxy {{http.request.header.X-Env-Upstream}} {{
			header_up -X-Env-Upstream
			header_up -Authorization
			transport http {{
				dial_timeout {DIAL_SECONDS}s
			}}
		}}"""


def _gate_transport(seconds: int) -> str:
    return f"""transport http {{
				dial_timeout {DIAL_SECONDS}s
				response_header_timeout {seconds}s
				keepalive 60s
				keepalive_idle_conns_per_host 128
			}}"""


def _ask_gate(place: Place) -> str:
    # A gate that changed the protocol would leave the browser with an empty answer.
    return f"""		forward_auth {_dial(place)} {{{_retry(place)}
			uri /authorize
			header_up -Connection
			header_up -Upgrade
			header_up X-Env-Upgrade {{http.request.header.Upgrade}}
			copy_headers X-Env-Upstream X-Env-Ticket X-Env-Cookie>Cookie
			{_gate_transport(GATE_SECONDS)}
			@no_answer status 1xx
			handle_response @no_answer {{
				error 503
			}}
		}}"""


def _nothing_answered(gate: str) -> str:
    # A gate that has just answered says it as a page; whatever it says, it is told as trouble.
    # One that did not is not asked again.
    return f"""	handle_errors 502 503 504 {{
		@answered vars gate answered
		handle @answered {{
			rewrite * /unreachable
			reverse_proxy {gate} {{
				header_up -Connection
				header_up -Upgrade
				method GET
				{_gate_transport(PAGE_SECONDS)}
				handle_response {{
					copy_response 503
				}}
			}}
		}}
		handle {{
			{_AWAY}
		}}
	}}"""


def _environments(plan: EdgePlan) -> str:
    gate, retry = _dial(plan.gate), _retry(plan.gate)
    # The forged names go first, so that what the gate answers is the only thing left under them.
    # No protocol but WebSocket is changed to: whatever came through it would pass unasked.
    return f"""
http://*.{plan.host}:{plan.port} {{
	bind {" ".join(plan.binds)}
	route {{
{_last_of_its_connection()}		request_header -{OURS}
{_strip_forged()}{_font(plan)}
		@tunnel method CONNECT TRACE
		respond @tunnel 405
		@other_protocol {{
			header Upgrade *
			not header_regexp Upgrade (?i)^websocket$
		}}
		request_header @other_protocol -Upgrade
		handle /.cmb/* {{
			reverse_proxy {gate} {{{retry}
				{_gate_transport(GATE_SECONDS)}
			}}
		}}
{_ask_gate(plan.gate)}
		vars gate answered
{_to_application()}
	}}
{_nothing_answered(gate)}
}}
"""


def _others(plan: EdgePlan) -> str:
    numbers = [f"http://{bind}:{plan.port}" for bind in plan.binds if bind != plan.host]
    redirect = ""
    if numbers:
        redirect = f"""
{", ".join(numbers)} {{
	bind {" ".join(plan.binds)}
	redir * {plan.public_url}{{uri}} 308
}}
"""
    return f"""{redirect}
http://:{plan.port} {{
	bind {" ".join(plan.binds)}
	header Content-Type "text/plain; charset=utf-8"
	respond "Nothing is served under this name. Go to {plan.public_url}" 421
}}
"""


def caddyfile(plan: EdgePlan) -> str:
    """The whole configuration as a Caddyfile."""
    return _options(plan) + _dashboard(plan) + _environments(plan) + _others(plan)
