"""Whether a deployment is there, told by how a create without a prompt is refused. It pays for nothing.

1. The create names the model and nothing else; no server of a video dialect can make anything of that.
2. Refused because of the model: the deployment is not there, or retired, or not for this key; a real create would end
   the same way.
3. Refused for its prompt: at Azure the deployment is there, for its name is resolved before the body is read. Other
   servers may not have looked at the name yet, which cannot be told from outside: "not proven".
4. A server in trouble, a full house, a broken connection: no proof either way.
5. Taken, against all expectation: that is a fault, and the task is cancelled at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from textwrap import shorten

from reelkeeper.diagnosis.report import Check, bad, good
from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import Provider, ProviderConfig
from reelkeeper.providers.endpoints import AZURE_JOBS, is_azure
from reelkeeper.providers.failures import CREATE
from reelkeeper.providers.http import ProviderHttp
from reelkeeper.providers.openai_videos import OpenAIVideos
from reelkeeper.providers.reading import path_of

ASK_SECONDS = 12.0
TAKEN = "The server took a create without a prompt, which every server of this dialect refuses; it may have a cost."
PROOF = "python3 dev.py doctor --create makes one real generation and proves it"
NO_PROOF = frozenset({"provider_error", "rate_limited", "too_many_running"})


def incomplete_create_checks(
    prefix: str, config: ProviderConfig, http: ProviderHttp, now: Callable[[], datetime]
) -> Iterator[Check]:
    """``deployment``, and ``task`` where the server made one of it. For the dialects with tasks."""
    jobs = config.dialect == AZURE_JOBS
    version = {"api-version": config.api_version} if config.api_version else {}
    path = path_of("/video/generations", "jobs", **version) if jobs else path_of("/videos", **version)
    try:
        answer, _ = http.exchange(CREATE, path, body={"model": config.model}, deadline=time.monotonic() + ASK_SECONDS)
    except ProviderError as error:
        yield refused_create_check(f"{prefix}: deployment", config, error)
        return
    yield _taken(f"{prefix}: deployment")
    provider: Provider = AzureJobs(config, now) if jobs else OpenAIVideos(config, now)
    task_id = answer.get("id")
    if isinstance(task_id, str) and task_id:
        yield _cancelled(f"{prefix}: task", provider, task_id)


def refused_create_check(name: str, config: ProviderConfig, error: ProviderError) -> Check:
    """What the refusal of a create without a prompt tells about the deployment."""
    fault, said = error.fault, said_by(error.fault)
    if fault.provider_status is not None and fault.provider_status < 300:
        return _taken(name)
    if fault.code in NO_PROOF:
        return good(name, unproven(config, f"a create without a prompt got no verdict: {in_brief(fault)}"))
    if fault.code == "endpoint_not_found":
        absent = advice(config, "deployment_not_found")
        other = f"Or the server lists tasks without making any. {advice(config, fault.code)}"
        return bad(name, f"{said}; tasks are listed, but no create is taken", f"{absent} {other}")
    if fault.code in ("deployment_not_found", "model_retired", "invalid_credentials"):
        return bad(name, said, advice(config, fault.code))
    if "prompt" not in said.lower():
        return good(
            name, unproven(config, f"a create without a prompt is refused, but not for its model: {in_brief(fault)}")
        )
    if is_azure(config.base_url):
        words = "a create without a prompt reached the deployment and was refused for its prompt"
        return good(name, f"{config.model} is there: {words}")
    return good(name, unproven(config, "a create without a prompt is refused for its prompt, not for its model"))


def unproven(config: ProviderConfig, why: str) -> str:
    return f"whether {config.model} is there is not proven ({why}); {PROOF}"


def said_by(fault: Fault) -> str:
    """The provider's words, else ours, with its HTTP status and request id; one line."""
    request = f" (request id {fault.request_id})" if fault.request_id else ""
    return f"{_words(fault)}{request}"


def in_brief(fault: Fault) -> str:
    """What is shown of a refusal where all is well."""
    return shorten(_words(fault), 100, placeholder=" ...")


def advice(config: ProviderConfig, code: str) -> str:
    return ADVICE[code].format(
        key_setting=config.key_setting, endpoint_setting=config.endpoint_setting, model_setting=config.model_setting
    )


def _words(fault: Fault) -> str:
    status = f"HTTP {fault.provider_status}: " if fault.provider_status is not None else ""
    return " ".join(f"{status}{fault.provider_message or fault.message}".split())


def _taken(name: str) -> Check:
    fix = "Look in the server's portal or log for a task without a prompt, and end it there."
    return bad(name, TAKEN, fix)


def _cancelled(name: str, provider: Provider, task_id: str) -> Check:
    try:
        provider.cancel(task_id)
    except ProviderError as error:
        fix = "Look for it in the server's portal or log, and end it there."
        return bad(name, f"{task_id[:80]} could not be cancelled: {said_by(error.fault)}", fix)
    return good(name, f"{task_id[:80]} was cancelled")
