"""Signing in: an identity's token where there is no key, kept, renewed, and never told."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import responses
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError

from reelkeeper.errors import ProviderError
from reelkeeper.model import JobRequest, Output
from reelkeeper.providers.auth import IdentityCredentials
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import COGNITIVE_SERVICES, ProviderConfig

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
JOBS = "https://r.openai.azure.com/openai/v1/video/generations/jobs"
TASK = {"id": "task_1", "status": "queued", "created_at": 1795166000}
OUTPUT = Output("gen_1", 480, 480, 1)
REQUEST = JobRequest("p", width=480, height=480, n_seconds=1, n_variants=1, model="m")


@dataclass
class Identity:
    """A credential that gives ``token-1``, ``token-2``...; `failing` is raised instead. `asked`: the scopes so far.

    `sticky`: the library's own cache answers, so that every token is the first one.
    """

    lifetime: timedelta = timedelta(hours=1)
    failing: AzureError | None = None
    sticky: bool = False
    asked: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: NOW

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        if self.failing:
            raise self.failing
        self.asked += scopes
        number = 1 if self.sticky else len(self.asked)
        return AccessToken(f"token-{number}", int((self.clock() + self.lifetime).timestamp()))


class Clock:
    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


def provider(identity: Identity, clock: Callable[[], datetime] = lambda: NOW, **changes: Any) -> AzureJobs:
    base_url = "https://r.openai.azure.com/openai/v1"
    config = ProviderConfig("sora", "videos", "azure-jobs", base_url, "", "", "m", auth="entra", credential=identity,
                            **changes)  # fmt: skip
    return AzureJobs(config, clock)


def tokens(calls: responses.RequestsMock) -> list[str | None]:
    return [call.request.headers.get("Authorization") for call in calls.calls]


def refusal(call: Callable[..., Any], *args: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call(*args)
    return caught.value


def test_one_token_serves_many_requests() -> None:
    """It is fetched with the first one, for the configured scope, and goes out in place of a key."""
    identity = Identity()
    with responses.RequestsMock() as calls:
        calls.post(JOBS, json=TASK)
        calls.get(f"{JOBS}/task_1", json=TASK)
        one = provider(identity)
        assert identity.asked == []
        one.submit(REQUEST)
        one.look("task_1")
        assert tokens(calls) == ["Bearer token-1"] * 2
        assert not any("api-key" in call.request.headers for call in calls.calls)
    assert identity.asked == [COGNITIVE_SERVICES]
    other = Identity()
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", json=TASK)
        provider(other, scope="https://ai.azure.com/.default").look("task_1")
    assert other.asked == ["https://ai.azure.com/.default"]


def test_a_token_is_renewed_before_it_runs_out() -> None:
    """Five minutes ahead, so that it does not run out on the way."""
    clock = Clock()
    identity = Identity(clock=clock.now)
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", json=TASK)
        one = provider(identity, clock.now)
        for minutes in (0, 54, 2):
            clock.moment += timedelta(minutes=minutes)
            one.look("task_1")
        assert tokens(calls) == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_a_refused_token_is_renewed_once() -> None:
    """A 401 may mean a revoked token: with a new one the same request is made again, a create too."""
    with responses.RequestsMock() as calls:
        calls.post(JOBS, status=401, json={"error": {"message": "expired"}})
        calls.post(JOBS, json=TASK)
        assert provider(Identity()).submit(REQUEST).task_id == "task_1"
        assert tokens(calls) == ["Bearer token-1", "Bearer token-2"]


def test_a_second_refusal_is_the_answer() -> None:
    """Nobody asks for a third token; the advice is about the identity's role."""
    with responses.RequestsMock() as calls:
        calls.post(JOBS, status=401, json={"error": {"message": "no role for token-2"}})
        error = refusal(provider(Identity()).submit, REQUEST)
        assert tokens(calls) == ["Bearer token-1", "Bearer token-2"]
    assert (error.fault.code, error.outcome_unknown) == ("invalid_credentials", False)
    assert error.fault.provider_message == "no role for ***"


def test_the_same_token_is_not_tried_twice() -> None:
    """Where the library has nothing newer, its refusal stands."""
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", status=401)
        assert refusal(provider(Identity(sticky=True)).look, "task_1").fault.code == "invalid_credentials"
        assert len(calls.calls) == 1


def test_a_key_that_is_refused_is_not_tried_twice() -> None:
    """There is no other."""
    config = ProviderConfig("s", "videos", "azure-jobs", "https://r.openai.azure.com/openai/v1", "", "k", "m")
    with responses.RequestsMock() as calls:
        calls.post(JOBS, status=401)
        assert refusal(AzureJobs(config, lambda: NOW).submit, REQUEST).fault.code == "invalid_credentials"
        assert len(calls.calls) == 1


def test_a_download_is_signed_in_for_as_well() -> None:
    """And its token stays on the provider's own origin."""
    content = "https://r.openai.azure.com/openai/v1/video/generations/gen_1/content/video"
    with responses.RequestsMock() as calls:
        calls.get(content, status=302, headers={"Location": "https://cdn.example/0.mp4"})
        calls.get("https://cdn.example/0.mp4", body=b"film")
        with provider(Identity()).open_output(OUTPUT) as stream:
            assert b"".join(stream.chunks()) == b"film"
        assert tokens(calls) == ["Bearer token-1", None]


@pytest.mark.parametrize(
    ("failing", "code"),
    [
        (ClientAuthenticationError("no credential in this chain: secret-1"), "invalid_credentials"),
        (ServiceRequestError("the identity endpoint is away"), "provider_error"),
    ],
)
def test_without_a_token_nothing_is_sent(failing: AzureError, code: str) -> None:
    """An identity that is turned down is a refused key, one that is away an outage; a create was not made."""
    with responses.RequestsMock() as calls:
        error = refusal(provider(Identity(failing=failing)).submit, REQUEST)
        assert len(calls.calls) == 0
    assert (error.fault.code, error.outcome_unknown) == (code, False)
    assert error.fault.provider_message == f"The app's identity gave no token ({type(failing).__name__})."
    assert error.__cause__ is None


def test_an_outage_of_the_identity_is_bridged_by_the_token_in_hand() -> None:
    """While the old token counts, requests go on; when it has run out, they stop."""
    clock = Clock()
    identity = Identity(clock=clock.now)
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", json=TASK)
        one = provider(identity, clock.now)
        one.look("task_1")
        identity.failing = ServiceRequestError("away")
        clock.moment += timedelta(minutes=57)
        assert one.look("task_1").task_id == "task_1"
        clock.moment += timedelta(minutes=4)
        assert refusal(one.look, "task_1").fault.code == "provider_error"


def test_a_slow_identity_does_not_eat_the_time_of_the_create() -> None:
    """A create must be over before anybody reconciles it: with too little time left it is not begun."""

    class Slow(Identity):
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            time.sleep(0.04)  # most of the 0.05 s that this create may take
            return super().get_token(*scopes, **options)

    one = provider(Slow(), create_seconds=0.05)
    with responses.RequestsMock() as calls:
        error = refusal(one.submit, REQUEST)
        assert len(calls.calls) == 0
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", False)


def test_many_threads_fetch_one_token() -> None:
    """The first asks, the others wait for it."""
    identity = Identity()
    config = ProviderConfig("s", "videos", "azure-jobs", "https://h", "", "", "m", auth="entra", credential=identity)
    credentials = IdentityCredentials(config, lambda: NOW)
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda _: credentials.headers()["Authorization"], range(32)))
    assert set(got) == {"Bearer token-1"}
    assert len(identity.asked) == 1
    assert credentials.secrets() == ("token-1",)
