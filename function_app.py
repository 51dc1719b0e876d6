"""Composition root: registers every function with the Functions host. No logic.

No ``from __future__ import annotations`` here: the Functions worker reads the annotations.
"""

import functools
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from activities.admit import admit_job
from activities.create import create_task
from activities.download import download_part
from activities.poll import poll_task
from activities.settle import settle_job
from activities.store import store_part
from entities.gate import keep_gate
from orchestrators.keep import keep
from orchestrators.render import render
from orchestrators.watch import watch
from reelkeeper.admission import only_admitted
from reelkeeper.parts import KINDS
from reelkeeper.services import Services, build_services
from reelkeeper.settings import DEFAULT_SWEEP, Settings
from triggers.answers import answering
from triggers.batches import create_batch, get_batch
from triggers.cancel import cancel_job
from triggers.delete import delete_job
from triggers.diagnostics import get_diagnostics
from triggers.generate import generate
from triggers.health import get_health
from triggers.jobs import get_content, get_gallery, get_result, get_status
from triggers.providers import get_providers
from triggers.sweep import sweep

logging.getLogger("azure").setLevel(logging.WARNING)  # the SDKs log every request, with its URL, at INFO
logging.getLogger("urllib3").setLevel(logging.ERROR)  # below, it logs whole addresses, which may be signed

settings = Settings.from_environment(os.environ)


@functools.cache
def services() -> Services:
    return build_services(settings)


Answering = Callable[[Services, func.HttpRequest, str], func.HttpResponse]
Starting = Callable[[Services, func.HttpRequest, df.DurableOrchestrationClient, str], Awaitable[func.HttpResponse]]

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)


def register_start(kind: str, name: str, route: str, body: Starting) -> None:
    async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
        return await body(services(), req, client, kind)

    start.__name__ = f"{name}_{kind}"
    bound = app.durable_client_input(client_name="client")(answering(start))
    app.function_name(start.__name__)(app.route(f"{kind}/{route}", methods=["POST"])(bound))


def register(kind: str, name: str, method: str, route: str, body: Answering) -> None:
    def answer(req: func.HttpRequest) -> func.HttpResponse:
        return body(services(), req, kind)

    answer.__name__ = f"{name}_{kind}"
    app.function_name(answer.__name__)(app.route(f"{kind}/{route}", methods=[method])(answering(answer)))


for kind in KINDS:
    register_start(kind, "generate", "generate", generate)
    register_start(kind, "batches", "batches", create_batch)
    register(kind, "batch", "GET", "batches/{batch_id}", get_batch)
    register(kind, "status", "GET", "{job_id}/status", get_status)
    register(kind, "result", "GET", "{job_id}/result", get_result)
    register(kind, "content", "GET", "{job_id}/content", get_content)
    register(kind, "gallery", "GET", "user", get_gallery)
    register(kind, "cancel", "POST", "{job_id}/cancel", cancel_job)
    register(kind, "delete", "DELETE", "{job_id}", delete_job)


@app.function_name("providers")
@app.route("providers", methods=["GET"])
@answering
def providers(req: func.HttpRequest) -> func.HttpResponse:
    return get_providers(services())


@app.function_name("health")
@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answering
def health(req: func.HttpRequest) -> func.HttpResponse:
    return get_health(services())


@app.function_name("diagnostics")
@app.route("diagnostics", methods=["GET"])
@answering
def diagnostics(req: func.HttpRequest) -> func.HttpResponse:
    return get_diagnostics(os.environ, Path(__file__).parent)


sweep_schedule = "%SWEEP_SCHEDULE%" if os.environ.get("SWEEP_SCHEDULE", "").strip() else DEFAULT_SWEEP


@app.function_name("sweep")
@app.timer_trigger(arg_name="timer", schedule=sweep_schedule)
@app.durable_client_input(client_name="client")
async def sweep_jobs(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    await sweep(services(), client)


def register_activity(verb: str, body: Callable[[Services, dict[str, Any]], dict[str, Any]]) -> None:
    def activity(work: dict) -> dict:  # type: ignore[type-arg]
        return body(services(), work)

    activity.__name__, activity.__doc__ = verb, body.__doc__
    app.function_name(verb)(app.activity_trigger(input_name="work", activity=verb)(activity))


register_activity("admit", admit_job)
register_activity("create", only_admitted(create_task))
register_activity("poll", poll_task)
register_activity("download", download_part)
register_activity("store", store_part)
register_activity("settle", settle_job)

for orchestrator in (render, watch, keep):
    name = orchestrator.__name__
    app.function_name(name)(app.orchestration_trigger(context_name="context", orchestration=name)(orchestrator))


@app.entity_trigger(context_name="context", entity_name="gate")
def gate(context):  # type: ignore[no-untyped-def]
    keep_gate(services(), context)
