"""Orchestrators, activities and an entity, and HTTP functions that use the durable client for everything it can do."""

import json
from datetime import datetime, timedelta, timezone

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
broken = {"on": True}


@app.route(route="start/{name}/{id?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    """Start an orchestration with the body as its input, the usual way."""
    given = json.loads(req.get_body() or b"null")
    instance_id = await client.start_new(req.route_params["name"], req.route_params.get("id"), given)
    return client.create_check_status_response(req, instance_id)


@app.route(route="client/{method}/{id?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def use_client(req: func.HttpRequest, client) -> func.HttpResponse:
    """Call one method of the durable client and return what it returns."""
    method, instance_id = req.route_params["method"], req.route_params.get("id", "")
    since = datetime(2020, 1, 1, tzinfo=timezone.utc)
    entity = df.EntityId("counter", instance_id or "-")
    calls = {
        "status": lambda: client.get_status(instance_id, show_history=True, show_history_output=True, show_input=True),
        "all": client.get_status_all,
        "completed": lambda: client.get_status_by(since, None, [df.OrchestrationRuntimeStatus.Completed]),
        "event": lambda: client.raise_event(instance_id, "go", {"said": "go"}),
        "terminate": lambda: client.terminate(instance_id, "enough of it"),
        "suspend": lambda: client.suspend(instance_id, "pause"),
        "resume": lambda: client.resume(instance_id, "go on"),
        "rewind": lambda: client.rewind(instance_id, "again"),
        "restart": lambda: client.restart(instance_id),
        "purge": lambda: client.purge_instance_history(instance_id),
        "purge-many": lambda: client.purge_instance_history_by(since, None, [df.OrchestrationRuntimeStatus.Completed]),
        "add": lambda: client.signal_entity(entity, "add", 5),
        "read": lambda: client.read_entity_state(entity),
        "wait": lambda: client.wait_for_completion_or_create_check_status_response(req, instance_id, 5000, 20),
    }
    try:
        returned = await calls[method]()
    except Exception as problem:
        return func.HttpResponse(str(problem), status_code=409)
    if isinstance(returned, func.HttpResponse):
        return returned
    return func.HttpResponse(json.dumps(plain(returned)), mimetype="application/json")


def plain(value):
    """Make what the client returned readable as JSON."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if hasattr(value, "runtime_status"):
        return {**value.to_json(), "events": getattr(value, "historyEvents", None)} if value else "not found"
    if isinstance(value, (dict, str, int)) or value is None:
        return value
    return {name.strip("_"): entry for name, entry in vars(value).items()}


@app.orchestration_trigger(context_name="context")
def chain(context):
    """Add one three times."""
    total = context.get_input()["from"]
    for _ in range(3):
        total = yield context.call_activity("add_one", total)
    return {"total": total}


@app.orchestration_trigger(context_name="context")
def wait_for_go(context):
    """Wait for an event and return it."""
    context.set_custom_status({"waiting": "go"})
    said = yield context.wait_for_external_event("go")
    return said


@app.orchestration_trigger(context_name="context")
def sleep_a_day(context):
    """Sleep for 24 hours."""
    yield context.create_timer(context.current_utc_datetime + timedelta(hours=24))
    return "rested"


@app.orchestration_trigger(context_name="context")
def fail(context):
    """Call an activity that fails."""
    yield context.call_activity("refuse", None)


@app.orchestration_trigger(context_name="context")
def count(context):
    """Use the entity, by call."""
    entity = df.EntityId("counter", "called")
    yield context.call_entity(entity, "add", 2)
    total = yield context.call_entity(entity, "add", 3)
    return total


@app.orchestration_trigger(context_name="context")
def version_of(context):
    """Return the version this instance was started with."""
    return context.version
    yield


@app.orchestration_trigger(context_name="context")
def self_service(context):
    """Call an activity that calls this host over HTTP."""
    answer = yield context.call_activity("ask_host", context.get_input())
    return answer


@app.activity_trigger(input_name="n")
def add_one(n: int) -> int:
    """Add one."""
    return n + 1


@app.activity_trigger(input_name="nothing")
def refuse(nothing) -> None:
    """Fail, until a test mends it."""
    if broken["on"]:
        raise ValueError("boom")


@app.activity_trigger(input_name="url")
async def ask_host(url: str) -> str:
    """Ask this very host something from an async function, through the blocking client."""
    import requests

    return requests.get(url, timeout=10).text


@app.route(route="nested")
async def nested(req: func.HttpRequest) -> func.HttpResponse:
    """Block the async functions' loop with a request to this very host."""
    import requests

    answer = requests.get(req.params["url"], timeout=10)
    return func.HttpResponse(answer.text, status_code=answer.status_code)


@app.route(route="plain")
def plain_text(req: func.HttpRequest) -> str:
    """Say something, from the pool of sync functions."""
    return "plain"


@app.entity_trigger(context_name="context")
def counter(context):
    """Add up."""
    total = context.get_state(lambda: 0)
    if context.operation_name == "add":
        total += context.get_input()
    context.set_state(total)
    context.set_result(total)
