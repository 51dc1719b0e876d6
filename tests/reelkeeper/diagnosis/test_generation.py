"""One real generation against the simulator: made once, followed to its file, told as it happens, without secrets."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from emulator.sora.simulator import Simulator
from reelkeeper.diagnosis.diagnose import generations
from reelkeeper.diagnosis.generation import Generation, builder, smallest
from reelkeeper.diagnosis.report import Check, Report, bad
from reelkeeper.settings import Settings

OPENAI = ("OPENAI_BASE_URL", "OPENAI_API_KEY")


def now() -> datetime:
    return datetime.now(timezone.utc)


@pytest.fixture
def make(every: dict[str, str]) -> Callable[..., tuple[Check, list[str]]]:
    """Make a generation at the provider of this name; the check, and the lines that were told."""

    def make(name: str, clock: Callable[[], float] = time.monotonic, **changes: str) -> tuple[Check, list[str]]:
        lines: list[str] = []
        settings = Settings.from_environment(every | changes)
        (config,) = [config for config in settings.providers if config.name == name]
        pause: Callable[[float], None] = lambda seconds: time.sleep(min(seconds, 0.05))  # noqa: E731
        return Generation(config, builder(settings, now), lines.append, pause, clock).run(), lines

    return make


@pytest.mark.parametrize(
    ("name", "media", "first"),
    [
        ("sora", "video/mp4", "POST /openai/v1/video/generations/jobs -> 201 in "),
        ("openai", "video/mp4", "POST /v1/videos -> 200 in "),
        ("image", "image/png", "POST /v1/images/generations -> 200 in "),
    ],
)
def test_every_dialect_s_smallest_is_made_once_and_opened(
    name: str, media: str, first: str, make: Any, provider: Simulator
) -> None:
    """The check tells what came and what was paid for; each exchange is one line with its status and request id."""
    before = provider.stats()["creates_accepted"]
    check, lines = make(name)
    assert check.ok, check
    assert media in check.detail
    assert "one paid generation" in check.detail
    assert lines[0].startswith(first)
    assert "(request id " in lines[0]
    assert provider.stats()["creates_accepted"] == before + 1


def test_a_length_that_is_refused_is_made_longer(make: Any) -> None:
    """The refusal cost nothing; the usual length is one that every server of the dialect makes."""
    check, lines = make("openai", OPENAI_VIDEO_MODEL="some-model")
    assert "1 s is refused; trying 4 s" in lines
    assert "720x1280, 4 s, of some-model" in check.detail


def test_the_smallest_and_shortest_is_asked_for(every: dict[str, str]) -> None:
    """As far as the provider's abilities tell."""
    settings = Settings.from_environment(every)
    sora, openai, image = (smallest(builder(settings, now)(config)) for config in settings.providers)
    assert (sora.width, sora.height, sora.n_seconds, sora.n_variants) == (480, 480, 1, 1)
    assert (openai.width * openai.height, openai.n_seconds) == (1280 * 720, 4)
    assert (image.width, image.height, image.n_seconds, image.quality) == (1024, 1024, 0, "low")


@pytest.mark.parametrize(
    ("op", "kind", "args", "detail", "fix"),
    [
        ("create", "deployment_not_found", {}, "HTTP 404", "Check SORA_MODEL"),
        ("create", "unauthorized", {}, "HTTP 401", "Check AZURE_API_KEY"),
        ("create", "too_many_running", {}, "HTTP 429", "max_running"),
        ("create", "moderated", {}, "HTTP 400", "content policy"),
        ("create", "drop_answer", {}, "It may have been made and charged", "status page"),
        ("create", "failed", {"reason": "internal_error"}, "internal_error", "server's log"),
        ("content", "content_expired", {}, "404", "deleted the generation"),
        ("content", "wrong_body", {"body": "garbage"}, "neither a video nor a picture", "portal"),
    ],
)
def test_what_goes_wrong_is_told_with_its_fix(
    op: str, kind: str, args: dict[str, Any], detail: str, fix: str, make: Any, provider: Simulator
) -> None:
    """At the create, while it is made, and at the file."""
    if kind == "content_expired":
        body = {"error": {"message": "The video is no longer available. Downloads expire after 1 hours."}}
        kind, args = "http", {"status": 404, "body": body}
    provider.fault(op, kind, **args)
    check, _ = make("sora")
    assert not check.ok
    assert detail in check.detail
    assert fix in str(check.fix)


def test_a_file_that_comes_late_is_waited_for(make: Any, provider: Simulator) -> None:
    """The 404 of the minutes after success is no failure."""
    provider.fault("content", "not_found", times=2)
    assert make("sora")[0].ok


def test_a_hiccup_while_it_is_watched_is_no_end(make: Any, provider: Simulator) -> None:
    """It is paid for; only the fifth failure in a row gives up."""
    provider.fault("get", "server_error", times=4)
    assert make("sora")[0].ok
    provider.fault("get", "server_error", times=5)
    check, _ = make("sora")
    assert (check.ok, "HTTP 500" in check.detail) == (False, True)


def test_a_task_that_never_ends_is_left_alone_after_half_an_hour(make: Any, provider: Simulator) -> None:
    """The check names it: it goes on at the provider."""
    provider.fault("create", "never_finish")
    ticks = iter(range(0, 100_000, 400))
    check, _ = make("sora", lambda: float(next(ticks)))
    assert not check.ok
    assert "30 minutes; the task task_" in check.detail


def test_no_secret_is_told(make: Any, provider: Simulator, every: dict[str, str]) -> None:
    """Neither the key that a server repeats, nor the signed address of a file elsewhere."""
    provider.fault("create", "http", status=400, body={"error": {"message": f"Bad {every['AZURE_API_KEY']}"}})
    check, lines = make("sora")
    assert every["AZURE_API_KEY"] not in f"{check} {lines}"
    check, lines = make("image", IMAGE_MODEL="dall-e-3")
    assert not check.ok  # this deployment does not exist; its request was shown nevertheless
    assert lines[0].startswith("POST /v1/images/generations -> 404")


def test_only_the_named_provider_is_charged(every: dict[str, str], provider: Simulator) -> None:
    """And one that is not there is told, with those that are."""
    before = provider.stats()["creates_accepted"]
    lines: list[str] = []
    (check,) = generations(every, Report(()), lines.append, "image")
    assert (check.name, check.ok) == ("provider image: generation", True)
    assert provider.stats()["creates_accepted"] == before + 1
    (check,) = generations(every, Report(()), lines.append, "nobody")
    assert not check.ok
    assert "sora, openai, image" in check.detail


def test_nothing_is_paid_for_where_something_is_known_to_be_wrong(every: dict[str, str], provider: Simulator) -> None:
    """But for an announced retirement: whether it came is what a generation tells."""
    before = provider.stats()["creates_accepted"]
    found = Report((bad("provider image: credentials", "HTTP 401", "Check."),))
    (check,) = generations(every, found, print, "image")
    assert (check.ok, check.detail) == (False, "not made: a check of this provider failed")
    assert provider.stats()["creates_accepted"] == before
    found = Report((bad("provider image: retirement", "retired", "Choose another."),))
    assert generations(every, found, lambda line: None, "image")[0].ok
