"""Runs the app's functions: the half of the host that a Functions language worker is.

Arguments and results go through azure-functions' own converters. Async functions share one event loop of their own
(never the host's HTTP loop, so that they may call the host), sync functions a thread pool of
PYTHON_THREADPOOL_THREAD_COUNT threads; orchestrators and entities run on the thread that asks, the durable engine's.
A run that exceeds functionTimeout fails for its caller; a sync function's thread cannot be stopped and runs on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from azure.durable_functions.models.utils import http_utils
from azure.functions import meta

from .indexer import AppFunction
from .logs import Invocation, running
from .ports import TriggerKind
from .settings import StartError
from .signatures import REGISTRY

log = logging.getLogger(__name__)

ClientBinding = Callable[[Mapping[str, Any]], str]
_CLOSE_SECONDS = 5.0
_EXITS = (SystemExit, KeyboardInterrupt)


class FunctionTimeoutError(Exception):
    """A run took longer than functionTimeout."""


class FunctionCancelledError(Exception):
    """A run was cancelled: by the function itself, or because the host stops."""


class FunctionExitError(Exception):
    """A function tried to end the process; only its own run ends."""


class Worker:
    """Runs functions; satisfies the durable engine's `Functions`."""

    def __init__(
        self, functions: Sequence[AppFunction], client_binding: ClientBinding, limit: timedelta | None
    ) -> None:
        """Serve `functions`; `client_binding` writes the durable client's JSON, `limit` is functionTimeout."""
        self._durable = {(one.kind, one.durable_name.lower()): one for one in functions}
        self._client_binding = client_binding
        self._limit = None if limit is None else limit.total_seconds()
        self._pool = ThreadPoolExecutor(_pool_size(), "function")
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="async-functions", daemon=True)
        self._thread.start()

    # what the durable engine asks for

    def has(self, kind: TriggerKind, name: str) -> bool:
        """Tell whether there is a function of this trigger type and durable name."""
        return (kind, name.lower()) in self._durable

    def orchestrator(self, name: str, context_json: str) -> str:
        """Run one episode of an orchestrator on this thread; raises what the SDK raises."""
        return self._run_here(self._durable["orchestrationTrigger", name.lower()], context_json)

    def entity(self, name: str, context_json: str) -> str:
        """Run one batch of entity operations on this thread."""
        return self._run_here(self._durable["entityTrigger", name.lower()], context_json)

    def activity(self, name: str, input_text: str | None, instance_id: str) -> str | None:
        """Run an activity and return its result as JSON text; raises what the function raises."""
        function = self._durable["activityTrigger", name.lower()]
        value = self.run(function, meta.Datum("null" if input_text is None else input_text, "json"))
        encoded: str | None = REGISTRY.get("activityTrigger").encode(value, expected_type=None).value
        return encoded

    # running one function

    def run(self, function: AppFunction, trigger: meta.Datum) -> Any:
        """Run a function and return its value; raises what it raises, always an Exception: the errors above say why."""
        future = self._submit(function, trigger)
        concurrent.futures.wait([future], self._limit)
        return self._result(function, future)

    async def run_async(self, function: AppFunction, trigger: meta.Datum) -> Any:
        """Like `run`, for a coroutine of the host's loop."""
        future = asyncio.wrap_future(self._submit(function, trigger))
        await asyncio.wait({future}, timeout=self._limit)
        return self._result(function, future)

    def close(self) -> None:
        """Stop the loop and the pool; runs that are under way are cancelled or, if sync, left behind."""
        if self._closed:
            return
        self._closed = True
        closing = asyncio.run_coroutine_threadsafe(_close_loop(), self._loop)
        concurrent.futures.wait([closing], _CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run_here(self, function: AppFunction, context: str) -> str:
        argument = REGISTRY.get(function.kind).decode(meta.Datum(context, "string"), trigger_metadata={})
        token = running.set(Invocation(str(uuid.uuid4()), function.name))
        try:
            answer: str = function.call(**{function.trigger["name"]: argument})
            return answer
        except _EXITS as problem:
            raise FunctionExitError(f"{type(problem).__name__}: {problem}") from problem
        finally:
            running.reset(token)

    def _submit(self, function: AppFunction, trigger: meta.Datum) -> Future[Any]:
        if self._closed:
            raise FunctionCancelledError(f"The host is stopping: {function.name} was not run.")
        invocation = Invocation(str(uuid.uuid4()), function.name)
        if function.is_async:
            return asyncio.run_coroutine_threadsafe(self._call_async(function, trigger, invocation), self._loop)
        return self._pool.submit(self._call_sync, function, trigger, invocation)

    def _result(self, function: AppFunction, future: Future[Any] | asyncio.Future[Any]) -> Any:
        if not future.done():
            future.cancel()
            message = f"Timeout value of {self._limit:g} s was exceeded by function: Functions.{function.name}."
            log.error("%s%s", message, "" if function.is_async else " Its thread cannot be stopped and runs on.")
            raise FunctionTimeoutError(message)
        if future.cancelled():
            raise FunctionCancelledError(f"The run of {function.name} was cancelled.")
        return future.result()

    def _call_sync(self, function: AppFunction, trigger: meta.Datum, invocation: Invocation) -> Any:
        with _logged(invocation):
            return _checked(function, function.call(**self._arguments(function, trigger, invocation)))

    async def _call_async(self, function: AppFunction, trigger: meta.Datum, invocation: Invocation) -> Any:
        with _logged(invocation):
            return _checked(function, await function.call(**self._arguments(function, trigger, invocation)))

    def _arguments(self, function: AppFunction, trigger: meta.Datum, invocation: Invocation) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for binding in function.bindings:
            if binding is function.trigger:
                value = REGISTRY.get(function.kind).decode(trigger, trigger_metadata={})
            elif binding["type"] == "durableClient":
                datum = meta.Datum(self._client_binding(binding), "string")
                value = REGISTRY.get("durableClient").decode(datum, trigger_metadata=None)
            else:
                continue
            arguments[binding["name"]] = value
        if function.wants_context:
            arguments["context"] = _context(function, invocation)
        return arguments


@contextmanager
def _logged(invocation: Invocation) -> Iterator[None]:
    """Mark this thread or task as working for `invocation`, and log how it ended."""
    token = running.set(invocation)
    started = time.perf_counter()
    log.debug("Executing 'Functions.%s' (Id=%s)", invocation.function, invocation.id)
    try:
        yield
    except asyncio.CancelledError:
        log.warning("Executed 'Functions.%s' (Cancelled, %s)", invocation.function, _since(started))
        raise
    except _EXITS as problem:  # would end the loop or the thread for everyone else
        log.exception("Executed 'Functions.%s' (Failed, %s)", invocation.function, _since(started))
        raise FunctionExitError(f"{type(problem).__name__}: {problem}") from problem
    except Exception:
        log.exception("Executed 'Functions.%s' (Failed, %s)", invocation.function, _since(started))
        raise
    else:
        log.info("Executed 'Functions.%s' (Succeeded, %s)", invocation.function, _since(started))
    finally:
        running.reset(token)


def _since(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"


def _checked(function: AppFunction, value: Any) -> Any:
    if value is not None and function.returns is None:
        raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
    return value


def _context(function: AppFunction, invocation: Invocation) -> Any:
    """Build what a parameter annotated azure.functions.Context receives; made on the thread that runs the function."""
    local = threading.local()
    local.invocation_id = invocation.id
    return SimpleNamespace(
        invocation_id=invocation.id,
        function_name=function.name,
        function_directory=function.directory,
        thread_local_storage=local,
        trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
        retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
    )


def _pool_size() -> int:
    given = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    if not given:
        return min(32, (os.cpu_count() or 1) + 4)
    if not given.isdigit() or int(given) < 1:
        raise StartError(f"PYTHON_THREADPOOL_THREAD_COUNT must be a whole number above zero, not {given!r}.")
    return int(given)


async def _close_loop() -> None:
    """End what runs on this loop, and the durable client's session with it.

    The SDK keeps one global session and lock, bound to the first loop that used them: a later host in this process
    would get errors from a session on a dead loop.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await http_utils._close_session()
    http_utils._session_lock = asyncio.Lock()
