"""Storage by identity: bearer tokens and user-delegation URLs, on an Azurite that serves https and asks for tokens.

Azurite takes any unsigned token with the right claims, so this shows that we ask, sign and renew rightly, not that
Entra ID grants anything.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from emulator.children import Child, inherited
from emulator.toolchain import azurite_script, find_node
from reelkeeper.clips.base import StoredClip
from reelkeeper.clips.blobs import BlobClips
from reelkeeper.diagnosis.storage import storage_checks
from reelkeeper.model import Job
from reelkeeper.records.tables import Tables
from reelkeeper.storage import StorageConnection

ROOT = Path(__file__).resolve().parents[2]
PATH = "user_ada@example.com/videos/job/0.mp4"


class AnyToken:
    """A credential with an unsigned token, as far as Azurite looks into it; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        self.asked += scopes
        now = int(time.time())
        claims = {
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
            "aud": "https://storage.azure.com",
            "oid": "00000000-0000-0000-0000-000000000002",
            "tid": "00000000-0000-0000-0000-000000000001",
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + 3600,
        }
        parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)] + [b"unsigned"]
        token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        return AccessToken(token, now + 3600)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@pytest.fixture(scope="module")
def by_identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageConnection]:
    """An account that is reached over https with tokens only."""
    folder = tmp_path_factory.mktemp("azurite-https")
    certificate, key = write_certificate(folder)
    # the preload ends Azurite when our end of its stdin closes: `node` may be a wrapper, whose end would not
    preload = ROOT / "emulator" / "azurite" / "stop_with_parent.js"
    command: list[str | Path] = [find_node(ROOT) or "node", "--require", preload, azurite_script(ROOT)]
    command += ["--location", folder / "storage"]
    for service in ("blob", "queue", "table"):
        command += [f"--{service}Host", "127.0.0.1", f"--{service}Port", "0"]
    command += ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--oauth", "basic"]
    command += ["--cert", certificate, "--key", key]
    child = Child("Azurite", command, cwd=folder, env=inherited(), log=folder / "azurite.log")
    try:
        child.wait_for(r"Azurite Table service is successfully listening at .*", 60, Event())
        ports = dict(re.findall(r"Azurite (\w+) service is successfully .*https://127\.0\.0\.1:(\d+)", child.read()))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("REQUESTS_CA_BUNDLE", str(certificate))
            yield StorageConnection(
                blob_service_uri=f"https://127.0.0.1:{ports['Blob']}/devstoreaccount1",
                table_service_uri=f"https://127.0.0.1:{ports['Table']}/devstoreaccount1",
                credential=AnyToken(),
            )
    finally:
        child.stop(20)


def test_records_are_kept_by_identity(by_identity: StorageConnection, make_job: Callable[..., Job]) -> None:
    """Tables are made, written and read with a token instead of a key."""
    tables = Tables(by_identity)
    tables.jobs.ping()
    job = tables.jobs.insert(make_job())
    assert tables.jobs.get(job.owner, job.job_id) == job
    tables.close()


def test_a_delegated_url_reads_one_blob_until_it_ends(by_identity: StorageConnection) -> None:
    """A URL signed with a borrowed key reads its blob over https, not another, and not after its end."""
    clips = BlobClips(by_identity, container=f"media-{secrets.token_hex(6)}")
    neighbour = PATH.replace("0.mp4", "1.mp4")
    for path in (PATH, neighbour):
        clips.stage(path, "0000", b"data")
        assert clips.commit(path, ["0000"], content_type="video/mp4", filename="a.mp4", metadata={}) == StoredClip(
            path, 4, "video/mp4", {}
        )
    url = clips.signed_url(PATH, datetime.now(timezone.utc) + timedelta(hours=1))
    query = parse_qs(urlsplit(url).query)
    assert query["skoid"] == ["00000000-0000-0000-0000-000000000002"]
    assert (query["sp"], query["sr"], query["spr"]) == (["r"], ["b"], ["https"])
    assert requests.get(url, timeout=10).content == b"data"
    assert requests.get(url.replace("0.mp4?", "1.mp4?"), timeout=10).status_code == 403
    assert requests.delete(url, timeout=10).status_code == 403

    short = clips.signed_url(PATH, datetime.now(timezone.utc) + timedelta(seconds=2.5))
    assert requests.get(short, timeout=10).status_code == 200
    deadline = time.monotonic() + 10
    while (status := requests.get(short, timeout=10).status_code) == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 403
    clips.close()


def test_the_diagnosis_of_such_an_account(by_identity: StorageConnection) -> None:
    """Token, blobs, tables and the delegated URL are all found to be well."""
    checks = list(storage_checks(by_identity, f"media-{secrets.token_hex(6)}", lambda: datetime.now(timezone.utc)))
    assert [(check.name, check.ok) for check in checks] == [
        (f"storage: {name}", True) for name in ("credentials", "clock", "blobs", "signed url", "tables")
    ]
