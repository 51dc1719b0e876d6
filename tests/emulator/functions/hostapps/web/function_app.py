"""HTTP functions of every shape: what a handler sees, what it may return, which key it wants."""

import json
import threading
import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
blueprint = func.Blueprint()


@app.route(route="echo/{word?}")
def echo(req: func.HttpRequest) -> func.HttpResponse:
    """Say what arrived."""
    seen = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route_params": dict(req.route_params),
        "body": req.get_body().decode("latin-1"),
        "thread": threading.current_thread().name,
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route(route="number/{n:int:min(1)}", methods=["GET"])
def number(req: func.HttpRequest) -> str:
    """Return a bare string."""
    return f"number {req.route_params['n']}"


@app.route(route="files/{*path}", methods=["GET"])
def files(req: func.HttpRequest) -> str:
    """Return what a catch-all caught."""
    return req.route_params.get("path", "nothing")


@app.route(route="only-post", methods=["POST"])
def only_post(req: func.HttpRequest) -> str:
    """Answer POST alone."""
    return "posted"


@app.route(route="result/{kind}")
def result(req: func.HttpRequest) -> func.HttpResponse:
    """Return, or raise, what the route asks for."""
    kind = req.route_params["kind"]
    if kind == "raise":
        raise ValueError("a secret detail")
    returned = {
        "none": None,
        "dict": {"a": 1},
        "empty": func.HttpResponse(status_code=204),
        "teapot": func.HttpResponse("short and stout", status_code=418, headers={"X-Shape": "round"}),
        "bytes": func.HttpResponse(b"\x00\xff", mimetype="application/octet-stream"),
        "status": func.HttpResponse("x", status_code="many"),
    }
    return returned[kind]


@app.route(route="cookies")
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    """Set two cookies."""
    response = func.HttpResponse("ok")
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2; HttpOnly")
    return response


@app.route(route="context")
def context_of(req: func.HttpRequest, context: func.Context) -> str:
    """Return what the invocation context holds."""
    same = context.thread_local_storage.invocation_id == context.invocation_id
    return f"{context.function_name} {same} {len(context.invocation_id)}"


@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    """Take longer than functionTimeout."""
    time.sleep(1.5)
    return "too late"


@app.route(route="waits")
async def waits(req: func.HttpRequest) -> str:
    """Run on the loop of the async functions."""
    return threading.current_thread().name


@app.route(route="guarded", auth_level=func.AuthLevel.FUNCTION)
def guarded(req: func.HttpRequest) -> str:
    """Want a function key."""
    return "welcome"


@app.route(route="innermost", auth_level=func.AuthLevel.ADMIN)
def innermost(req: func.HttpRequest) -> str:
    """Want the master key."""
    return "welcome, master"


@blueprint.route(route="from-blueprint", auth_level=func.AuthLevel.ANONYMOUS)
def from_blueprint(req: func.HttpRequest) -> str:
    """Come from a blueprint."""
    return "blueprint"


app.register_functions(blueprint)
