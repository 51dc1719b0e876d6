"""The durable HTTP API, row by row, by plain HTTP and through the SDK's own client."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions:DeprecationWarning")  # the SDK, of its own converter

API = "/runtime/webhooks/durabletask"


@pytest.fixture
def host(serve: Callable[..., Host]) -> Host:
    """The durable app on a virtual clock, keys not enforced."""
    return serve("durable", clock=VirtualClock())


def call(host: Host, method: str, path: str, **options: Any) -> requests.Response:
    """Call the public durable API."""
    return requests.request(method, f"{host.url}{API}/{path}", timeout=10, **options)


def start(host: Host, name: str, instance_id: str = "", body: Any = None) -> str:
    """Start an orchestration by the public API and return its id."""
    options = {} if body is None else {"json": body}
    response = call(host, "POST", f"orchestrators/{name}/{instance_id}".rstrip("/"), **options)
    assert response.status_code == 202
    started: str = response.json()["id"]
    return started


def finished(host: Host, name: str, instance_id: str, body: Any = None) -> str:
    """Start an orchestration that ends by itself, and wait for its end."""
    start(host, name, instance_id, body)
    host.engine.wait(instance_id, 10)
    return instance_id


def by_client(host: Host, method: str, instance_id: str = "") -> requests.Response:
    """Let a function call one method of the SDK's client."""
    return requests.post(f"{host.url}/api/client/{method}/{instance_id}", timeout=10)


# starting


def test_a_start_answers_with_links(host: Host) -> None:
    """202, the id, every management link, Location and Retry-After; the links carry the system key."""
    response = call(host, "POST", "orchestrators/chain/one", json={"from": 1})
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "10"
    links = response.json()
    assert response.headers["Location"] == links["statusQueryGetUri"]
    assert sorted(links) == [
        "id",
        "purgeHistoryDeleteUri",
        "restartPostUri",
        "resumePostUri",
        "sendEventPostUri",
        "statusQueryGetUri",
        "suspendPostUri",
        "terminatePostUri",
    ]
    key = host.keys.system["durabletask_extension"]
    assert links["statusQueryGetUri"] == (
        f"{host.url}{API}/instances/one?taskHub=HostAppHub&connection=Storage&code={key}"
    )
    assert host.engine.wait("one", 10)["output"] == '{"total": 4}'


def test_an_id_is_made_when_none_is_given(host: Host) -> None:
    """Two starts without an id are two instances."""
    assert len({start(host, "wait_for_go"), start(host, "wait_for_go")}) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("orchestrators/no_such", "{}", 400, "'no_such' doesn't exist"),
        ("orchestrators/add_one", "{}", 400, "not an orchestrator function"),
        ("orchestrators/chain/@odd", "{}", 400, "@"),
        ("orchestrators/chain/a%23b", "{}", 400, "#"),
        ("orchestrators/chain", "{", 400, ""),
    ],
)
def test_wrong_starts_are_400(host: Host, path: str, body: str, status: int, message: str) -> None:
    """Unknown functions, bad ids and bad JSON are refused in the extension's error form."""
    response = call(host, "POST", path, data=body)
    assert response.status_code == status
    assert set(response.json()) == {"Message", "ExceptionMessage", "ExceptionType", "StackTrace"}
    assert message in response.json()["ExceptionMessage"]


def test_a_running_id_is_409_and_a_finished_one_is_replaced(host: Host) -> None:
    """An id is free again once its instance has ended."""
    start(host, "wait_for_go", "same")
    again = call(host, "POST", "orchestrators/wait_for_go/same")
    assert again.status_code == 409
    assert "already exists" in again.json()["Message"]
    call(host, "POST", "instances/same/terminate")
    host.engine.wait("same", 10)
    finished(host, "chain", "same", {"from": 0})
    assert call(host, "GET", "instances/same").json()["output"] == {"total": 3}


def test_a_start_may_wait_for_the_end(host: Host) -> None:
    """With timeout and pollingInterval the output is the answer, a failure its status, too late the links."""
    wait = "timeout=10&pollingInterval=0.02"
    done = call(host, "POST", f"orchestrators/chain?{wait}", json={"from": 1})
    assert (done.status_code, done.json()) == (200, {"total": 4})
    failed = call(host, "POST", f"orchestrators/fail?{wait}&returnInternalServerErrorOnFailure=true")
    assert (failed.status_code, failed.json()["runtimeStatus"]) == (500, "Failed")
    late = call(host, "POST", "orchestrators/wait_for_go?timeout=0.05&pollingInterval=0.02")
    assert (late.status_code, "statusQueryGetUri" in late.json()) == (202, True)
    wrong = call(host, "POST", "orchestrators/chain?timeout=1&pollingInterval=2", json={"from": 1})
    assert wrong.status_code == 400


def test_a_version_is_passed_on(host: Host) -> None:
    """The version of the query wins over host.json's defaultVersion."""
    assert finished(host, "version_of", "default") == "default"
    call(host, "POST", "orchestrators/version_of/given?version=2.5")
    host.engine.wait("given", 10)
    outputs = [call(host, "GET", f"instances/{name}").json()["output"] for name in ("default", "given")]
    assert outputs == ["1.0", "2.5"]


# status


def test_status_of_a_running_instance_is_202(host: Host) -> None:
    """A running instance answers 202 with Location and Retry-After; times are cut to seconds."""
    start(host, "wait_for_go", "w", {"a": 1})
    host.engine.settle()
    response = call(host, "GET", "instances/w")
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "5"
    assert response.headers["Location"] == response.url
    assert response.json() == {
        "name": "wait_for_go",
        "instanceId": "w",
        "runtimeStatus": "Running",
        "input": {"a": 1},
        "customStatus": {"waiting": "go"},
        "output": None,
        "createdTime": "2025-01-01T00:00:00Z",
        "lastUpdatedTime": "2025-01-01T00:00:00Z",
    }


def test_status_of_a_failed_instance(host: Host) -> None:
    """A failed instance is 200, or 500 if asked for; its output, which is no JSON, is shown as text."""
    finished(host, "fail", "f")
    assert call(host, "GET", "instances/f").status_code == 200
    response = call(host, "GET", "instances/f?returnInternalServerErrorOnFailure=true")
    assert response.status_code == 500
    assert response.json()["runtimeStatus"] == "Failed"
    assert "boom" in response.json()["output"]


def test_the_input_may_be_left_out(host: Host) -> None:
    """showInput=false hides the input."""
    finished(host, "chain", "c", {"from": 1})
    assert call(host, "GET", "instances/c").json()["input"] == {"from": 1}
    assert call(host, "GET", "instances/c?showInput=false").json()["input"] is None


def test_a_missing_instance_is_an_empty_404(host: Host) -> None:
    """Every request about an instance that does not exist is 404 with an empty body."""
    requests_about = [("GET", ""), ("DELETE", ""), ("POST", "/terminate"), ("POST", "/suspend"), ("POST", "/resume")]
    for method, operation in [*requests_about, ("POST", "/raiseEvent/go")]:
        response = call(host, method, f"instances/nobody{operation}", json={})
        assert (operation, response.status_code, response.content) == (operation, 404, b"")


def test_history_is_shown_on_request(host: Host) -> None:
    """showHistory lists named events, ended tasks merged with their schedule; results only with showHistoryOutput."""
    finished(host, "chain", "c", {"from": 1})
    assert "historyEvents" not in call(host, "GET", "instances/c").json()
    shown = call(host, "GET", "instances/c?showHistory=true").json()["historyEvents"]
    assert [event["EventType"] for event in shown] == ["ExecutionStarted", *["TaskCompleted"] * 3, "ExecutionCompleted"]
    assert shown[0]["FunctionName"] == "chain"
    assert shown[1]["FunctionName"] == "add_one"
    assert shown[1]["ScheduledTime"] == "2025-01-01T00:00:00.000000Z"
    assert [event.get("Result") for event in shown] == [None] * 5
    full = call(host, "GET", "instances/c?showHistory=true&showHistoryOutput=true&showInput=false").json()
    assert [event.get("Result") for event in full["historyEvents"][1:]] == [2, 3, 4, {"total": 4}]
    assert [event.get("Input") for event in full["historyEvents"]] == [None] * 5


def test_an_open_task_stays_in_the_history_by_itself(host: Host) -> None:
    """What has not ended is listed as scheduled."""
    start(host, "sleep_a_day", "s")
    host.engine.settle()
    shown = call(host, "GET", "instances/s?showHistory=true").json()["historyEvents"]
    assert [event["EventType"] for event in shown] == ["ExecutionStarted", "TimerCreated"]


# lists and purges


def test_lists_are_filtered(host: Host) -> None:
    """By status, prefix and creation time; a time that is no time is ignored."""
    finished(host, "chain", "a-1", {"from": 1})
    host.advance(timedelta(hours=1))
    start(host, "wait_for_go", "a-2")
    start(host, "wait_for_go", "b-1")
    host.engine.settle()

    def ids(query: str) -> list[str]:
        response = call(host, "GET", f"instances/?{query}")
        assert response.status_code == 200
        return [one["instanceId"] for one in response.json()]

    assert ids("") == ["a-1", "a-2", "b-1"]
    assert ids("runtimeStatus=Completed,Failed") == ["a-1"]
    assert ids("instanceIdPrefix=a-") == ["a-1", "a-2"]
    assert ids("createdTimeFrom=2025-01-01T00:30:00.1Z") == ["a-2", "b-1"]
    assert ids("createdTimeTo=2025-01-01T02:30:00%2B02:00") == ["a-1"]
    assert ids("createdTimeFrom=yesterday") == ["a-1", "a-2", "b-1"]


def test_lists_come_in_pages(host: Host) -> None:
    """`top` limits a page, the continuation token leads to the next, and the last page has none."""
    for number in range(5):
        start(host, "wait_for_go", f"i{number}")
    pages: list[list[str]] = []
    headers: dict[str, str] = {}
    for _ in range(3):
        response = call(host, "GET", "instances/?top=2&showInput=false", headers=headers)
        pages.append([one["instanceId"] for one in response.json()])
        headers = {"x-ms-continuation-token": response.headers.get("x-ms-continuation-token", "")}
    assert pages == [["i0", "i1"], ["i2", "i3"], ["i4"]]
    assert headers == {"x-ms-continuation-token": ""}
    wrong = call(host, "GET", "instances/", headers={"x-ms-continuation-token": "nonsense"})
    assert wrong.status_code == 400


def test_purging_one_instance(host: Host) -> None:
    """An ended instance is deleted, a running one is 412, a deleted one 404."""
    finished(host, "chain", "c", {"from": 1})
    start(host, "wait_for_go", "w")
    host.engine.settle()
    early = call(host, "DELETE", "instances/w")
    assert (early.status_code, "Running" in early.json()) == (412, True)
    deleted = call(host, "DELETE", "instances/c")
    assert (deleted.status_code, deleted.json()) == (200, {"instancesDeleted": 1})
    assert call(host, "DELETE", "instances/c").status_code == 404


def test_purging_by_filter(host: Host) -> None:
    """createdTimeFrom is required; only ended instances go; nothing deleted is 404."""
    for number in range(3):
        finished(host, "chain", f"c{number}", {"from": 1})
    finished(host, "fail", "f")
    start(host, "wait_for_go", "w")
    assert call(host, "DELETE", "instances/").status_code == 400
    chosen = "instances/?createdTimeFrom=2024-12-31&runtimeStatus=Completed"
    assert call(host, "DELETE", chosen).json() == {"instancesDeleted": 3}
    assert call(host, "DELETE", chosen).status_code == 404
    assert call(host, "DELETE", "instances/?createdTimeFrom=2024-12-31").json() == {"instancesDeleted": 1}
    assert [one["instanceId"] for one in call(host, "GET", "instances/").json()] == ["w"]


# control


def test_an_event_is_delivered(host: Host) -> None:
    """raiseEvent answers 202 and the orchestrator receives the JSON that was sent."""
    start(host, "wait_for_go", "w")
    assert call(host, "POST", "instances/w/raiseEvent/go", json={"a": [1]}).status_code == 202
    assert host.engine.wait("w", 10)["output"] == '{"a": [1]}'
    assert call(host, "POST", "instances/w/raiseEvent/go", json=1).status_code == 410


def test_an_event_must_be_json(host: Host) -> None:
    """Another content type or broken JSON is 400."""
    start(host, "wait_for_go", "w")
    host.engine.settle()
    as_text = call(host, "POST", "instances/w/raiseEvent/go", data="1", headers={"Content-Type": "text/plain"})
    assert (as_text.status_code, as_text.json()["Message"]) == (
        400,
        "Only application/json request content is supported",
    )
    broken = call(host, "POST", "instances/w/raiseEvent/go", data="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["Message"]) == (400, "Invalid JSON content")


def test_terminate_suspend_and_resume(host: Host) -> None:
    """Each answers 202 and does what it says; afterwards the instance is 410."""
    start(host, "wait_for_go", "w")
    statuses = []
    for operation in ("suspend", "resume", "Terminate"):
        assert call(host, "POST", f"instances/w/{operation}?reason=because").status_code == 202
        host.engine.settle()
        statuses.append(call(host, "GET", "instances/w").json()["runtimeStatus"])
    assert statuses == ["Suspended", "Running", "Terminated"]
    assert call(host, "GET", "instances/w").json()["output"] == "because"
    after = [call(host, "POST", f"instances/w/{one}").status_code for one in ("suspend", "resume", "terminate")]
    assert after == [410, 410, 410]


def test_restart(host: Host) -> None:
    """A restart runs the same input again, under a new id or the old one; a missing id is 400, a running one 409."""
    finished(host, "chain", "c", {"from": 1})
    anew = call(host, "POST", "instances/c/restart")
    assert anew.status_code == 202
    assert anew.json()["id"] != "c"
    assert host.engine.wait(anew.json()["id"], 10)["output"] == '{"total": 4}'
    same = call(host, "POST", "instances/c/restart?restartWithNewInstanceId=false")
    assert same.json()["id"] == "c"
    start(host, "wait_for_go", "w")
    host.engine.settle()
    running = call(host, "POST", "instances/w/restart?restartWithNewInstanceId=false")
    assert running.status_code == 409
    assert call(host, "POST", "instances/nobody/restart").status_code == 400


def test_rewind_runs_the_failed_activity_again(host: Host) -> None:
    """Once its cause is mended, a failed instance goes on from where it failed."""
    finished(host, "fail", "f")
    sys.modules["function_app"].broken["on"] = False
    assert call(host, "POST", "instances/f/rewind?reason=mended").status_code == 202
    host.engine.settle()
    assert call(host, "GET", "instances/f").json()["runtimeStatus"] == "Completed"


def test_rewind_wants_a_failed_instance(host: Host) -> None:
    """Rewinding what has not failed is 412, what is not there 404."""
    finished(host, "chain", "c", {"from": 1})
    refused = call(host, "POST", "instances/c/rewind?reason=x")
    assert (refused.status_code, "Completed" in refused.json()) == (412, True)
    assert call(host, "POST", "instances/nobody/rewind").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "orchestrators/chain"),
        ("PUT", "instances/c"),
        ("POST", "instances/c/explode"),
        ("GET", "instances/c/terminate"),
        ("GET", "elsewhere"),
        ("GET", ""),
    ],
)
def test_anything_else_is_404(host: Host, method: str, path: str) -> None:
    """Unknown paths, operations and methods are 404."""
    finished(host, "chain", "c", {"from": 1})
    assert call(host, method, path).status_code == 404


# entities


def test_entities_are_signalled_read_and_deleted(host: Host) -> None:
    """POST ?op= and DELETE answer 202, GET the state or 404; the name's case does not matter."""
    assert call(host, "GET", "entities/counter/k").status_code == 404
    assert call(host, "POST", "entities/Counter/k?op=add", json="2").status_code == 202
    host.engine.settle()
    assert call(host, "GET", "entities/COUNTER/k").json() == 2
    assert call(host, "DELETE", "entities/counter/k").status_code == 202
    unknown = call(host, "POST", "entities/no_such/k?op=add")
    assert (unknown.status_code, "no_such" in unknown.json()["Message"]) == (400, True)
    broken = call(host, "POST", "entities/counter/k?op=add", data="{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400


# keys


def test_the_public_api_wants_the_system_key_when_keys_are_enforced(serve: Callable[..., Host], tmp_path: Path) -> None:
    """The system key and the master key open it, the host key does not; the links work as they are."""
    host = serve("durable", data=tmp_path, enforce_keys=True)
    keys = ["", host.keys.default, host.keys.system["durabletask_extension"], host.keys.master]
    statuses = [call(host, "GET", "instances/", headers={"x-functions-key": key}).status_code for key in keys]
    assert statuses == [401, 401, 200, 200]
    links = requests.post(f"{host.url}/api/start/chain/c", json={"from": 1}, timeout=10).json()
    host.engine.wait("c", 10)
    assert requests.get(links["statusQueryGetUri"], timeout=10).json()["output"] == {"total": 4}


# through the SDK's client


def test_the_clients_start_and_status(host: Host) -> None:
    """start_new and get_status work; the double-encoded input is shown as the string it is."""
    requests.post(f"{host.url}/api/start/chain/c", json={"from": 5}, timeout=10)
    host.engine.wait("c", 10)
    status = by_client(host, "status", "c").json()
    assert (status["runtimeStatus"], status["output"], status["input"]) == ("Completed", {"total": 8}, '{"from": 5}')
    assert [event["EventType"] for event in status["events"]][:2] == ["ExecutionStarted", "TaskCompleted"]
    assert by_client(host, "status", "nobody").json() == "not found"


def test_the_client_reports_an_unknown_orchestrator(host: Host) -> None:
    """start_new of a function that is not there raises, and the HTTP function fails."""
    assert requests.post(f"{host.url}/api/start/no_such", timeout=10).status_code == 500


def test_the_clients_lists_and_purges(host: Host) -> None:
    """get_status_all, get_status_by and both purges work."""
    for number in range(3):
        finished(host, "chain", f"c{number}", {"from": 1})
    start(host, "wait_for_go", "w")
    assert len(by_client(host, "all").json()) == 4
    assert sorted(one["instanceId"] for one in by_client(host, "completed").json()) == ["c0", "c1", "c2"]
    assert by_client(host, "purge", "c0").json() == {"instances_deleted": 1}
    assert by_client(host, "purge", "c0").json() == {"instances_deleted": 0}
    assert by_client(host, "purge-many").json() == {"instances_deleted": 2}


def test_the_clients_event_arrives_as_text(host: Host) -> None:
    """raise_event encodes twice, so the orchestrator gets a string holding JSON, as on Azure."""
    start(host, "wait_for_go", "w")
    assert by_client(host, "event", "w").status_code == 200
    assert host.engine.wait("w", 10)["output"] == '"{\\"said\\": \\"go\\"}"'
    gone = by_client(host, "event", "w")
    assert (gone.status_code, "gone" in gone.text) == (409, True)


def test_the_clients_controls(host: Host) -> None:
    """suspend, resume, terminate and restart do as they say."""
    start(host, "wait_for_go", "w")
    statuses = []
    for method in ("suspend", "resume", "terminate"):
        assert by_client(host, method, "w").status_code == 200
        host.engine.settle()
        statuses.append(by_client(host, "status", "w").json()["runtimeStatus"])
    assert statuses == ["Suspended", "Running", "Terminated"]
    restarted = by_client(host, "restart", "w").json()
    assert restarted["id"] != "w"


def test_the_clients_wait(host: Host) -> None:
    """wait_for_completion_or_create_check_status_response returns the output."""
    finished(host, "chain", "c", {"from": 1})
    response = by_client(host, "wait", "c")
    assert (response.status_code, response.json()) == (200, {"total": 4})


def test_the_clients_entity_calls(host: Host) -> None:
    """signal_entity and read_entity_state work, and an orchestrator's calls reach the same kind of entity."""
    assert by_client(host, "read", "k").json() == {"entity_exists": False, "entity_state": None}
    assert by_client(host, "add", "k").status_code == 200
    host.engine.settle()
    assert by_client(host, "read", "k").json() == {"entity_exists": True, "entity_state": 5}
    finished(host, "count", "c")
    assert call(host, "GET", "instances/c").json()["output"] == 5
