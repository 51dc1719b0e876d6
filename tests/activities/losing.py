"""Ways to lose the answer of a POST, for the tests of what becomes of the job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from world import World

from reelkeeper.model import Job, JobRequest, Task
from reelkeeper.providers.memory import refusal

GRACE = timedelta(seconds=60)
LOST = refusal("provider_error", outcome_unknown=True)


def lost_answer(world: World, **changes: Any) -> Job:
    """A job whose POST made a task that nobody was told of, at the time when it is to be reconciled."""
    job = world.record(**changes)
    world.provider.lose_answer = True
    assert world.create(job) == {"next": "wait", "seconds": 60}
    world.clock.advance(seconds=60)
    return job


def dropped_post(world: World, **changes: Any) -> Job:
    """A job whose POST never arrived, at the same time."""
    job = world.record(**changes)
    world.provider.planned["submit"] = [LOST]
    world.create(job)
    world.clock.advance(seconds=60)
    return job


def during(world: World, method: str, do: Callable[[], object], *, error: Exception | None = None) -> None:
    """Let something happen, or raise, at the end of the provider's next call of that method."""
    real = getattr(world.provider, method)

    def call(*args: Any) -> Any:
        setattr(world.provider, method, real)
        answer = real(*args)
        do()
        if error:
            raise error
        return answer

    setattr(world.provider, method, call)


class Searches:
    """Counts what the provider's list is asked for."""

    def __init__(self, world: World) -> None:
        self.since: list[datetime] = []
        find = world.provider.find

        def counted(request: JobRequest, since: datetime) -> list[Task]:
            self.since.append(since)
            return find(request, since)

        world.provider.find = counted  # type: ignore[method-assign]
