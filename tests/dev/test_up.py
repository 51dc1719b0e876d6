"""``dev.py up``, run for real: Azurite is the real one, the app and the simulator are stand-ins."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups and /proc")


def test_serves_with_one_line_on_stdout_and_ends_cleanly(tree: Any) -> None:
    """One ready line, up.json while it serves, and after SIGTERM exit 0 with nothing left: app first, Azurite last."""
    up = tree.up()
    url = up.ready()
    said = tree.read("up.json")
    settings = tree.read("functions/environment.json")
    assert (said["app"], said["host"], said["pid"]) == (url, "embedded", up.process.pid)
    assert settings["AzureWebJobsStorage"] == said["azurite"]["connection_string"]
    assert settings["AZURE_SORA_ENDPOINT"] == said["simulator"]
    assert settings["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert "keys" not in said
    assert said["azurite"]["blob"] in said["azurite"]["connection_string"]

    assert up.end() == 0
    assert up.stdout.read_text() == f"ready {url}\n"
    assert not (tree.data / "up.json").exists()
    assert (tree.data / "ends.txt").read_text() == "functions\nsora\n"
    assert "Azurite Table service successfully closed" in (tree.data / "logs" / "azurite.log").read_text()
    assert tree.processes() == []


def test_ctrl_c_is_a_clean_end(tree: Any) -> None:
    """Ctrl-C reaches the whole foreground group at once; that is no child's death but a clean end with exit 0."""
    up = tree.up()
    up.ready()
    os.killpg(up.process.pid, signal.SIGINT)
    assert up.process.wait(30) == 0
    assert "Stopped" in up.stderr.read_text()
    assert tree.processes() == []


def test_a_childs_death_is_told_with_the_end_of_its_log(tree: Any) -> None:
    """A crash of the app is named with its exit code and last words, without the key, and ends everything: exit 1."""
    up = tree.up()
    url = up.ready()
    with pytest.raises(OSError):
        urllib.request.build_opener().open(f"{url}/die", data=b"", timeout=5)
    assert up.process.wait(30) == 1
    told = up.stderr.read_text()
    assert "app ended with exit code 7" in told
    assert "the key is ***; this is the last line" in told
    assert "Traceback" not in told
    assert tree.processes() == []


def test_an_app_that_cannot_start_is_told(tree: Any) -> None:
    """A wrong setting ends the start with the app's own sentence, exit 1 and nothing left running."""
    tree.env["STANDIN_FAILS"] = "functions"
    up = tree.up()
    assert up.process.wait(30) == 1
    assert "the setting SWEEP_SCHEDULE is wrong" in up.stderr.read_text()
    assert up.stdout.read_text() == ""
    assert tree.processes() == []


def test_a_taken_port_is_named(tree: Any) -> None:
    """When the app's port is taken the message names it and the option, and nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = tree.dev("up", "--port", port)
    assert done.returncode == 1
    assert f"Port {port} " in done.stderr
    assert "--port" in done.stderr
    assert done.stdout == ""
    assert not (tree.data / "logs").exists()


def test_stacks_run_side_by_side_but_not_on_one_folder(tree: Any) -> None:
    """A second stack on the same data is refused with the first one's pid; on other data it gets other ports."""
    first = tree.up()
    first.ready()
    refused = tree.dev("up", "--port", "0")
    assert refused.returncode == 1
    assert f"process {first.process.pid}" in refused.stderr

    second = tree.up("--data", str(tree.root / "b"))
    second.ready()
    one, two = tree.read("up.json"), tree.read(tree.root / "b" / "up.json")
    assert one["azurite"]["blob"] != two["azurite"]["blob"]
    assert one["simulator"] != two["simulator"]
    assert first.end() == second.end() == 0


def test_the_simulator_comes_back_where_its_tasks_are_known(tree: Any) -> None:
    """On the same data it has the same port, also beside another stack; a port that is taken meanwhile is told."""
    other = tree.up("--data", str(tree.root / "other"))
    other.ready()
    urls = []
    for _ in range(2):
        one = tree.up()
        one.ready()
        urls.append(tree.read("up.json")["simulator"])
        assert one.end() == 0
    assert urls[0] == urls[1] != tree.read(tree.root / "other" / "up.json")["simulator"]
    assert other.end() == 0

    with socket.create_server(("127.0.0.1", port := int(urls[0].rsplit(":", 1)[1]))):
        one = tree.up()
        one.ready()
        assert tree.read("up.json")["simulator"] != urls[0]
        assert one.end() == 0
    assert f"The simulator's port {port} of the last run is taken" in one.stderr.read_text()
    again = tree.up()
    again.ready()
    assert tree.read("up.json")["simulator"] == urls[0]
    assert again.end() == 0


@pytest.mark.parametrize("group", [False, True], ids=["dev.py alone", "the whole group"])
def test_kill_9_loses_nothing_and_a_restart_works_at_once(tree: Any, group: bool) -> None:
    """After kill -9 the next up on the same folder waits for Azurite's flush, serves, and has what was acknowledged."""
    first = tree.up()
    url = first.ready()
    port = url.rsplit(":", 1)[1]
    up_json = tree.data / "up.json"
    storage = BlobServiceClient.from_connection_string(tree.read(up_json)["azurite"]["connection_string"])
    with storage:
        storage.create_container("clips").upload_blob("b", b"acknowledged")
    (os.killpg if group else os.kill)(first.process.pid, signal.SIGKILL)
    first.process.wait()

    second = tree.up(port=port)
    assert second.ready() == url
    said = tree.read(up_json)
    assert said["pid"] == second.process.pid
    with BlobServiceClient.from_connection_string(said["azurite"]["connection_string"]) as storage:
        assert storage.get_blob_client("clips", "b").download_blob().readall() == b"acknowledged"
    assert second.end() == 0


def test_a_configured_provider_keeps_the_simulator_away(tree: Any) -> None:
    """With AZURE_SORA_ENDPOINT in local.settings.json there is no simulator, and the environment still wins."""
    (tree.root / "local.settings.json").write_text(
        '{"Values": {"AZURE_SORA_ENDPOINT": "http://127.0.0.1:9/", "SORA_MODEL": "file", "MEDIA_CONTAINER": "file"}}'
    )
    tree.env["SORA_MODEL"] = "environment"
    up = tree.up("--enforce-keys")
    up.ready()
    said, settings = tree.read("up.json"), tree.read("functions/environment.json")
    assert said["simulator"] is None
    assert said["keys"] == {"default": "d", "master": "m"}
    assert (settings["AZURE_SORA_ENDPOINT"], settings["SORA_MODEL"]) == ("http://127.0.0.1:9/", "environment")
    assert settings["MEDIA_CONTAINER"] == "file"
    assert "AZURE_API_KEY" not in settings
    assert up.end() == 0


def test_core_tools_are_used_when_they_are_there(tree: Any, tmp_path: Path) -> None:
    """With func on PATH the app runs by ``func start``, with all settings in its environment, and ends with us."""
    func = tmp_path / "bin" / "func"
    func.parent.mkdir()
    func.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("standins") / "func.py"} "$@"\n')
    func.chmod(0o755)
    tree.env |= {"PATH": f"{func.parent}{os.pathsep}{tree.env['PATH']}", "FUNC_NOTE": str(tmp_path / "func.json")}
    before = {path.name for path in tree.root.iterdir()}
    up = tree.up()
    url = up.ready()
    said, note = tree.read("up.json"), tree.read(tmp_path / "func.json")
    assert (said["host"], said["app"]) == ("func", url)
    assert note["argv"] == ["start", "--port", url.rsplit(":", 1)[1]]
    assert note["cwd"] == str(tree.root)
    assert note["env"]["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert note["env"]["AzureWebJobsStorage"] == said["azurite"]["connection_string"]
    assert note["env"]["VIRTUAL_ENV"] == str(tree.root / ".venv")
    assert note["env"]["PATH"].startswith(str(tree.root / ".venv" / "bin"))
    assert {path.name for path in tree.root.iterdir()} - before == {".dev", "dev0.out", "dev0.err"}
    assert tree.answers(url)
    up.process.kill()
    tree.until(lambda: not tree.answers(url))


def test_asking_for_absent_core_tools_says_what_to_do(tree: Any) -> None:
    """--host func without func on PATH names the package to install and the other host."""
    tree.env["PATH"] = os.defpath
    done = tree.dev("up", "--host", "func")
    assert done.returncode == 1
    assert "azure-functions-core-tools@4" in done.stderr
    assert "--host embedded" in done.stderr
