"""The body of ``POST /api/{kind}/batches`` -> its owner and an offer for every request, or what is wrong with them all.

Each request is a body of the kind's `generate`, judged by the same code; a mistake is told at ``requests[3].prompt``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import azure.functions as func
from pydantic import Field

from reelkeeper.errors import FieldError, RequestRefused
from reelkeeper.names import MAX_BATCH
from reelkeeper.parts import VIDEOS
from reelkeeper.services import Services
from triggers.bodies import MAX_ERRORS, ImageBody, Strict, VideoBody, read_json, refused, to_body, validated
from triggers.offers import Offer, offer
from triggers.owner import owner_of

MAX_BATCH_BYTES = 1024 * 1024
"""Of everything but the texts of pictures. As records the jobs stay below 4 MiB, what one transaction takes."""


class BatchBody(Strict):
    requests: list[Any] = Field(min_length=1, max_length=MAX_BATCH)
    user_id: str | None = Field(default=None, min_length=1, max_length=256)


class Mistakes:
    """What is wrong with the requests of one batch."""

    def __init__(self) -> None:
        self._errors: list[tuple[int, FieldError]] = []
        self._codes: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._errors)

    def add(self, index: int, refusal: RequestRefused) -> None:
        """Raises refusals that are not about the request's own content."""
        if refusal.status != 400:
            raise refusal
        self._codes.add(refusal.code)
        for error in refusal.errors:
            field = "" if error.field == "body" else f".{error.field}"
            self._errors.append((index, FieldError(f"requests[{index}]{field}", error.message)))

    @contextmanager
    def at(self, index: int) -> Iterator[None]:
        """Note a refusal that is raised inside, and go on."""
        try:
            yield
        except RequestRefused as refusal:
            self.add(index, refusal)

    def tell(self) -> None:
        """Raises RequestRefused (400) when there is anything to tell, in the order of the requests."""
        if self._errors:
            in_order = sorted(self._errors, key=lambda one: one[0])
            told = tuple(error for _, error in in_order[:MAX_ERRORS])
            code = "invalid_request" if len(self._codes) > 1 else self._codes.copy().pop()
            raise RequestRefused(400, code, "; ".join(f"{one.field}: {one.message}" for one in told), told)


def read_batch(services: Services, req: func.HttpRequest, kind: str) -> tuple[str, list[Offer]]:
    """Owner and offers. Raises RequestRefused, with the mistakes of all requests."""
    content_type, mistakes = req.headers.get("content-type", ""), Mistakes()
    pictures = MAX_BATCH if kind == VIDEOS else 0
    batch = validated(BatchBody, read_json(content_type, req.get_body(), MAX_BATCH_BYTES, pictures))
    bodies: dict[int, VideoBody | ImageBody] = {}
    offers = []
    for index, data in enumerate(batch.requests):
        batch.requests[index] = None  # the text of a picture goes when its bytes are there
        with mistakes.at(index):
            bodies[index] = body = to_body(data, kind)
            offers.append(offer(services, kind, body))
    owner = _owner(req, batch.user_id, bodies, mistakes)
    mistakes.tell()
    return owner, offers


def _owner(
    req: func.HttpRequest, user_id: str | None, bodies: dict[int, VideoBody | ImageBody], mistakes: Mistakes
) -> str:
    """Whoever is named anywhere; nobody else may be named anywhere else."""
    named = {index: body.user_id for index, body in bodies.items() if body.user_id is not None}
    if user_id is not None or not named:
        owner = owner_of(req, user_id)
    else:
        first, owner = next(iter(named.items()))
        with mistakes.at(first):
            owner_of(req, owner)
    for index, name in named.items():
        if name != owner:
            words = "differs from the owner of the batch or of another request; a batch has one"
            mistakes.add(index, refused(FieldError("user_id", words)))
    return owner
