"""Signing in with the app's own identity instead of a key: who refuses what, and what to do then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from emulator.sora.simulator import Simulator
from reelkeeper.diagnosis.provider import provider_checks
from reelkeeper.diagnosis.report import Check
from reelkeeper.diagnosis.storage import storage_checks
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.storage import StorageConnection

TOKEN = "eyJ0-a-token-of-the-identity"


class Identity:
    """A credential with this token, or with none at all."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        if self._token is None:
            raise ClientAuthenticationError(f"no identity here, not even {TOKEN}")
        return AccessToken(self._token, int(time.time()) + 3600)


def now() -> datetime:
    return datetime.now(timezone.utc)


def failed(checks: Iterator[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.ok}


def configured(provider: Simulator, token: str | None) -> ProviderConfig:
    base, key = f"{provider.url}/openai/v1", "AZURE_API_KEY (none is set, so the app's identity signs in)"
    return ProviderConfig(
        "sora",
        "videos",
        "azure-jobs",
        base,
        "preview",
        "",
        "sora",
        auth="entra",
        credential=Identity(token),
        key_setting=key,
    )


def test_an_identity_that_is_let_in(provider: Simulator) -> None:
    """The detail says that it was the identity."""
    checks = list(provider_checks(configured(provider, "k-0d1f7a93c4-diagnosis"), provider.url, now))
    assert [check.name for check in checks if not check.ok] == []
    assert "the app's identity is let in" in {check.detail for check in checks}


def test_an_identity_without_the_role(provider: Simulator) -> None:
    """The fix names the role; the token is not repeated."""
    wrong = failed(provider_checks(configured(provider, TOKEN), provider.url, now))
    assert list(wrong) == ["provider sora: credentials"]
    assert "the app's identity signs in" in str(wrong["provider sora: credentials"].fix)
    assert TOKEN not in str(wrong)


def test_a_machine_without_an_identity(provider: Simulator) -> None:
    """Told before anything is sent, with how to get one."""
    wrong = failed(provider_checks(configured(provider, None), provider.url, now))
    assert list(wrong) == ["provider sora: credentials"]
    assert "az login" in str(wrong["provider sora: credentials"].fix)
    assert TOKEN not in str(wrong)


@pytest.fixture
def storage() -> Iterator[Callable[[int, str], StorageConnection]]:
    """A storage account that refuses everything with this status and code."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, code: str) -> StorageConnection:
        class Refusing(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                for name, value in {"x-ms-error-code": code, "Content-Type": "application/xml"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_: Any) -> None:
                """Keep the test's output clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/films"
        return StorageConnection(
            f"AccountName=films;AccountKey=bm90IGEga2V5;BlobEndpoint={address};TableEndpoint={address}"
        )

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (403, "AuthenticationFailed", "Copy the connection string again"),
        (403, "AuthorizationFailure", "network rules"),
        (403, "AuthorizationPermissionMismatch", "Storage Table Data Contributor"),
        (403, "KeyBasedAuthenticationNotPermitted", "forbids keys"),
        (403, "AccountIsDisabled", "disabled"),
        (403, "SomethingNew", "Copy the connection string again"),
        (418, "Teapot", "Look up the code"),
    ],
)
def test_each_refusal_of_the_storage_has_its_fix(
    status: int, code: str, fix: str, storage: Callable[[int, str], StorageConnection]
) -> None:
    """By its code, which stands in the detail."""
    wrong = failed(storage_checks(storage(status, code), "media", now))
    assert list(wrong) == ["storage: blobs", "storage: tables"]
    for check in wrong.values():
        assert f"HTTP {status} {code}" in check.detail
        assert fix in str(check.fix)


def test_a_storage_that_an_unknown_identity_asks() -> None:
    """Nobody is asked at all; the fix is to sign in."""
    connection = StorageConnection(
        blob_service_uri="https://no-such-name.invalid",
        table_service_uri="https://no-such-name.invalid",
        credential=Identity(None),
    )
    (check,) = storage_checks(connection, "media", now)
    assert (check.name, check.ok) == ("storage: credentials", False)
    assert "got no token" in check.detail
    assert "az login" in str(check.fix)
    assert TOKEN not in str(check)


def test_an_account_that_does_not_exist() -> None:
    """Its name does not resolve; a typing error is what it mostly is."""
    connection = StorageConnection(
        "AccountName=nosuchaccount;AccountKey=bm90IGEga2V5;EndpointSuffix=no-such-name.invalid"
    )
    wrong = failed(storage_checks(connection, "media", now))
    assert list(wrong) == ["storage: blobs", "storage: tables"]
    for check in wrong.values():
        assert "typing error in the account's name" in str(check.fix)
