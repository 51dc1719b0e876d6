"""The way to a provider before the first request: its name, its port, its certificate.

Behind a proxy it is the proxy that looks up names and connects, so nothing of this can be told from here.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import requests

from reelkeeper.diagnosis.report import Check, bad, good
from reelkeeper.outbound.rule import is_private, resolve
from reelkeeper.outbound.session import origin

CONNECT_SECONDS = 5.0
SOON = timedelta(days=14)


def way_checks(prefix: str, base_url: str, setting: str, now: datetime) -> Iterator[Check]:
    """``dns``, then ``tls`` (or ``connection`` over plain http); the first failure is the last check."""
    scheme, host, port = origin(base_url)
    last = f"{prefix}: {'tls' if scheme == 'https' else 'connection'}"
    if proxy := _proxy_of(base_url):
        yield good(f"{prefix}: dns", f"looked up by the proxy {proxy}")
        return
    try:
        addresses = resolve(host or "")
    except (OSError, UnicodeError):
        fix = f"Look for a typing error in {setting}; a deleted resource's name is gone too, and one with a private "
        yield bad(f"{prefix}: dns", f"{host} does not resolve", f"{fix}endpoint resolves only inside its network.")
        return
    private = all(is_private(address) for address in addresses)
    here = all(ip_address(address.partition("%")[0]).is_loopback for address in addresses)
    where = ", on this machine" if here else ", in a private network" if private else ""
    found = f"resolves to {len(addresses)} address{'es' if len(addresses) > 1 else ''}"
    yield good(f"{prefix}: dns", f"{host} {found if addresses != [host] else 'is an address itself'}{where}")
    if scheme == "http" and not private:
        words = "Over plain http to a public address the key and the prompts travel readable for everybody."
        yield bad(last, words, f"Begin {setting} with https://.")
        return
    yield _connection_check(last, host or "", port, setting, now, tls=scheme == "https")


def _connection_check(name: str, host: str, port: int, setting: str, now: datetime, *, tls: bool) -> Check:
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as plain:
            if not tls:
                return good(name, f"connected to {host}:{port}")
            with _context().wrap_socket(plain, server_hostname=host) as secure:
                return _certificate_check(name, secure, now)
    except ssl.SSLCertVerificationError as error:
        fix = (
            f"Use the name that the certificate is for in {setting}; for a server with a certificate authority of "
            "its own, set REQUESTS_CA_BUNDLE to a file with its certificate."
        )
        return bad(name, f"the certificate is refused: {error.verify_message}", fix)
    except ssl.SSLError as error:
        fix = f"If the server has no TLS, begin {setting} with http:// (in a private network only)."
        return bad(name, f"no TLS at port {port}: {error.reason or type(error).__name__}", fix)
    except ConnectionRefusedError:
        fix = f"Start the server, or correct host and port in {setting}."
        return bad(name, f"nothing listens at {host}:{port}", fix)
    except TimeoutError:
        fix = f"A firewall may be in the way; or correct host and port in {setting}."
        return bad(name, f"no connection to {host}:{port} within {CONNECT_SECONDS:.0f} s", fix)
    except OSError as error:
        fix = f"Look at the network between here and there, and at host and port in {setting}."
        return bad(name, f"no connection to {host}:{port} ({type(error).__name__})", fix)


def _certificate_check(name: str, secure: ssl.SSLSocket, now: datetime) -> Check:
    certificate = secure.getpeercert() or {}
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), timezone.utc)
    warning = ", which is soon" if ends - now < SOON else ""
    return good(name, f"{secure.version()}, certificate valid until {ends.date().isoformat()}{warning}")


def _context() -> ssl.SSLContext:
    """Trusts whom the requests of the app trust."""
    bundle = (
        os.environ.get("REQUESTS_CA_BUNDLE")
        or os.environ.get("CURL_CA_BUNDLE")
        or requests.utils.DEFAULT_CA_BUNDLE_PATH
    )
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def _proxy_of(url: str) -> str | None:
    """Host and port of the proxy that requests to this address take; no password that may be in its address."""
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None))
    return urlsplit(proxy).netloc.rpartition("@")[2] or "that is configured" if proxy else None
