"""Azurite as a child process: what it serves, and that no end of ours loses an acknowledged write."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from emulator.azurite import Azurite
from emulator.trouble import Trouble

PARENT = """
import sys, time
from pathlib import Path
from emulator.azurite import Azurite
print(Azurite(Path(sys.argv[1])).start().connection_string, flush=True)
time.sleep(600)
"""


def test_the_shared_azurite_speaks_to_todays_sdks(connection_string: str) -> None:
    """Blobs and tables work with the installed SDKs, whose API version is newer than Azurite's."""
    with BlobServiceClient.from_connection_string(connection_string) as blobs:
        blobs.create_container("dev-azurite").upload_blob("b", b"1")
    with TableServiceClient.from_connection_string(connection_string) as tables:
        tables.create_table("devazurite").upsert_entity({"PartitionKey": "p", "RowKey": "r"})


def test_acknowledged_writes_survive_kill_9_of_the_parent(tmp_path: Path) -> None:
    """A row and a blob written right before kill -9 of the starting process are there after a restart."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "a")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout
    with parent.stdout:
        connection_string = parent.stdout.readline().strip()
    with TableServiceClient.from_connection_string(connection_string) as tables:
        tables.create_table("rows").create_entity({"PartitionKey": "p", "RowKey": "r"})
    with BlobServiceClient.from_connection_string(connection_string) as blobs:
        blobs.create_container("clips").upload_blob("b", b"kept")
    parent.kill()
    parent.wait()
    log = tmp_path / "azurite.log"
    deadline = time.monotonic() + 30
    while log.read_text().count("successfully closed") < 3:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)

    with Azurite(tmp_path / "a") as again:
        with TableServiceClient.from_connection_string(again.connection_string) as tables:
            assert tables.get_table_client("rows").get_entity("p", "r")["RowKey"] == "r"
        with BlobServiceClient.from_connection_string(again.connection_string) as blobs:
            assert blobs.get_blob_client("clips", "b").download_blob().readall() == b"kept"


def test_a_stop_waits_for_the_flush(tmp_path: Path) -> None:
    """stop() right after a burst of writes, and a second SIGTERM in the middle of it, lose none of them."""
    azurite = Azurite(tmp_path / "a").start()
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        rows = tables.create_table("rows")
        for part in range(10):
            rows.submit_transaction(
                ("create", {"PartitionKey": f"{part}", "RowKey": f"{row}", "text": "x" * 500}) for row in range(100)
            )
    assert azurite.child
    azurite.child.process.terminate()
    azurite.stop()
    assert azurite.child.process.returncode == 0
    with Azurite(tmp_path / "a") as again, TableServiceClient.from_connection_string(again.connection_string) as tables:
        assert len(list(tables.get_table_client("rows").list_entities(select=["RowKey"]))) == 1000


def test_a_port_in_use_ends_the_start_with_azurites_own_words(tmp_path: Path, azurite: Any) -> None:
    """Asked for a port that is taken, start() raises with exit code and log instead of waiting for its deadline."""
    taken = int(azurite.blob.split(":")[2].split("/")[0])
    with pytest.raises(Trouble, match=r"(?s)Azurite ended with exit code 1.*EADDRINUSE"):
        Azurite(tmp_path / "a", blob_port=taken).start()


def test_accounts_of_the_developers_environment_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AZURITE_ACCOUNTS, which would remove the well-known account, does not reach our Azurite."""
    monkeypatch.setenv("AZURITE_ACCOUNTS", "mine:a2V5")
    with Azurite(tmp_path / "a") as own, BlobServiceClient.from_connection_string(own.connection_string) as blobs:
        assert list(blobs.list_containers()) == []
