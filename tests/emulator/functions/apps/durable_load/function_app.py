"""An app whose every activity and entity operation leaves a line in the file that ACTIVITY_LOG names."""

import os
import time
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def _log(line: str) -> None:
    handle = os.open(os.environ["ACTIVITY_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())  # one write: lines of several threads do not mix
    os.close(handle)


@app.activity_trigger(input_name="given")
def step(given: dict) -> int:
    """Take a moment, then add one."""
    time.sleep(0.02)
    _log(f"{given['id']} {given['n']}")
    return given["x"] + 1


@app.orchestration_trigger(context_name="context")
def chain(context: df.DurableOrchestrationContext):
    """Count up, one activity after the other."""
    x = 0
    for n in range(int(context.get_input()["n"])):
        x = yield context.call_activity("step", {"id": context.instance_id, "n": n, "x": x})
    return x


@app.orchestration_trigger(context_name="context")
def fan(context: df.DurableOrchestrationContext):
    """Run many activities at once."""
    numbers = range(int(context.get_input()["n"]))
    return sum(
        (
            yield context.task_all(
                [context.call_activity("step", {"id": context.instance_id, "n": n, "x": n}) for n in numbers]
            )
        )
    )


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext):
    """Run three chains as children."""
    n = context.get_input()["n"]
    return sum((yield context.task_all([context.call_sub_orchestrator("chain", {"n": n}) for _ in range(3)])))


@app.orchestration_trigger(context_name="context")
def sleeper(context: df.DurableOrchestrationContext):
    """Sleep several times."""
    for _ in range(int(context.get_input()["n"])):
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=0.5))
    return "woke"


@app.orchestration_trigger(context_name="context")
def eternal(context: df.DurableOrchestrationContext):
    """Continue as new until the count is reached."""
    given = context.get_input()
    x = yield context.call_activity("step", {"id": context.instance_id, "n": given.get("x", 0), "x": given.get("x", 0)})
    if x < int(given["n"]):
        context.continue_as_new({"n": given["n"], "x": x})
    return x


@app.orchestration_trigger(context_name="context")
def saver(context: df.DurableOrchestrationContext):
    """Call an entity many times."""
    total = 0
    for _ in range(int(context.get_input()["n"])):
        total = yield context.call_entity(df.EntityId("counter", context.instance_id), "add", 1)
    return total


@app.entity_trigger(context_name="context")
def counter(context: df.DurableEntityContext):
    """Add up."""
    total = context.get_state(lambda: 0) + context.get_input()
    context.set_state(total)
    context.set_result(total)


@app.orchestration_trigger(context_name="context")
def waiter(context: df.DurableOrchestrationContext):
    """Wait for an event that comes after the last kill."""
    return (yield context.wait_for_external_event("go"))
