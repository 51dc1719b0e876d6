"""The `openai-images` dialect: one POST to ``/images/generations`` that is answered, a minute later, by the pictures.

Spoken by Azure and OpenAI (`gpt-image-*`, `dall-e-3`), LiteLLM, LocalAI, vLLM-Omni and others. There is no task, no
list and nothing to look at: an answer that is lost is lost. The pictures come in Base64, or as addresses that live an
hour. The answer is read as it arrives, one picture in memory at a time. What models allow is told by their names, where
those are the vendors' own; anything else is the server's to refuse.
"""

from __future__ import annotations

import base64
import codecs
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urljoin

import ijson

from reelkeeper.errors import Fault, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.providers.abilities import BACKGROUNDS, FORMATS, Abilities, SizeRule
from reelkeeper.providers.base import Content, ProviderConfig, Receive
from reelkeeper.providers.configured import Configured
from reelkeeper.providers.endpoints import is_azure
from reelkeeper.providers.http import HttpAnswer, ProviderHttp
from reelkeeper.providers.reading import path_of

log = logging.getLogger(__name__)

ADDRESS_LIVES = timedelta(minutes=60)
MAX_ADDRESS = 16_000
"""Ten of them must fit into a record."""

SQUARE, PORTRAIT, LANDSCAPE = (1024, 1024), (1024, 1536), (1536, 1024)
USUAL_QUALITIES = ("auto", "low", "medium", "high")
DALL_E = Abilities(
    sizes=(SQUARE, (1792, 1024), (1024, 1792)),
    seconds=(),
    variants_by_pixels=((0, 1),),
    formats=("png",),
    qualities=("standard", "hd"),
    backgrounds=("opaque",),
)
GPT_IMAGE = Abilities(
    sizes=(SQUARE, PORTRAIT, LANDSCAPE),
    seconds=(),
    variants_by_pixels=((0, 10),),
    max_prompt=32_000,
    auto_size=True,
    formats=FORMATS,
    qualities=USUAL_QUALITIES,
    backgrounds=BACKGROUNDS,
)
ANY_16 = SizeRule(step=16, min_pixels=655_360, max_pixels=8_294_400, max_side=3840, max_ratio=3)
GPT_IMAGE_2 = replace(GPT_IMAGE, size_rule=ANY_16)
GPT_IMAGE_2_5 = replace(GPT_IMAGE_2, qualities=(*USUAL_QUALITIES, "xhigh", "max"))
ANY = SizeRule(step=1, min_pixels=64 * 64, max_pixels=4096 * 4096, max_side=4096, max_ratio=64)
OTHERS = replace(GPT_IMAGE, size_rule=ANY, qualities=())
"""Documented for the vendors' models (OpenAI's and Azure's image guides); other servers make what their model can."""


class OpenAIImages(Configured):
    """Adapter of one server that speaks the dialect. See `Provider` for what the methods promise."""

    dialect = "openai-images"
    lists = False

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        super().__init__(config, _documented(config.model, is_azure(config.base_url)))
        self._resubmits = config.resubmit_unknown
        self._version = {"api-version": config.api_version} if config.api_version else {}
        self._http = ProviderHttp(config, now)
        self._here, self._now = f"{config.base_url}/images/generations", now

    def submit(self, request: JobRequest, receive: Receive, picture: bytes | None = None) -> Task:
        began, outputs = self._now(), list[Output]()

        def receive_there(index: int, what: bytes | str) -> Output:
            return receive(index, what if isinstance(what, bytes) else urljoin(self._here, what))

        try:
            with self._http.create(path_of("/images/generations", **self._version), _body(request)) as answer:
                outputs.extend(_outputs(answer, receive_there, request.n_variants))  # up to where it raises
        except ProviderError as error:
            if not (error.outcome_unknown and any(output.address for output in outputs)):
                raise
            log.warning("an answer broke off behind %d picture(s): %s", len(outputs), error.fault.provider_message)
        if not outputs:
            words = "The answer held no picture that can be used."
            advice = "The provider answered without a picture. Change the prompt or the model, and submit a new job."
            raise ProviderError(Fault("content_invalid", advice, words))
        by_address = any(output.address for output in outputs)
        end = self._now() + ADDRESS_LIVES if by_address else None
        return Task("", "succeeded", "succeeded", began, end, tuple(outputs))

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        """There is no list. None is made anew only where the operator says so: it may be paid for twice."""
        if self._resubmits:
            return []
        raise self._http.error("invalid_request", "Image servers have no list of what they made.")

    def look(self, task_id: str) -> Task:
        raise self._http.error("task_lost", "Image servers keep nothing that could be looked at.")

    def cancel(self, task_id: str) -> None:
        """There is nothing to stop: what was asked for is made when anybody knows of it."""

    def open_output(self, output: Output, offset: int = 0) -> Content:
        if output.address is None:
            raise self._http.error("content_expired", "The picture came with the answer and is nowhere else.")
        return self._http.stream(output.address, offset)

    def open_thumbnail(self, output: Output) -> Content | None:
        return None


def _documented(model: str, azure: bool) -> Abilities:
    can = OTHERS
    if "dall-e" in model:
        can = DALL_E
    elif found := re.search(r"gpt-image-(\d+)(?:\.(\d+))?", model):
        version = int(found[1]), int(found[2] or 0)
        can = GPT_IMAGE_2_5 if version >= (2, 5) else GPT_IMAGE_2 if version >= (2, 0) else GPT_IMAGE
    return replace(can, formats=tuple(one for one in can.formats if not (azure and one == "webp")))


def _body(request: JobRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"model": request.model, "prompt": request.prompt, "n": request.n_variants}
    if request.width:
        body["size"] = f"{request.width}x{request.height}"
    if request.quality:
        body["quality"] = request.quality
    if "dall-e" in request.model:
        return {**body, "response_format": "b64_json"}  # the others refuse the field, and send Base64 anyway
    given = {"output_format": request.output_format, "background": request.background}
    return body | {name: word for name, word in given.items() if word}


def _outputs(answer: HttpAnswer, receive: Receive, most: int) -> Iterator[Output]:
    """Each picture, received as soon as it is there, `most` at most. What is none is passed over, the others count."""
    items = ijson.items(ijson.from_iter(_as_utf8(answer.chunks())), "data.item")
    try:
        for index, item in enumerate(islice(items, most)):
            try:
                yield receive(index, _file_or_address(item))
            except ValueError as error:
                log.warning("picture %d of an answer cannot be used: %s", index, error)
    except ijson.JSONError:
        raise answer.lost("The answer is no whole JSON.") from None


def _as_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Without a byte order mark, and with a sign in place of what is no UTF-8: neither is worth the pictures."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode()


def _file_or_address(item: object) -> bytes | str:
    told = item if isinstance(item, dict) else {}
    text, url = told.get("b64_json"), told.get("url")
    if isinstance(text, str) and text:
        return _decoded(text)
    if isinstance(url, str) and url.startswith("data:"):
        return _decoded(url)
    if isinstance(url, str) and 0 < len(url) <= MAX_ADDRESS:
        return url
    raise ValueError("it holds neither a file nor an address")


def _decoded(text: str) -> bytes:
    """Base64 in either alphabet, padded or not, with or without the head of a data URL."""
    text = text.partition("base64,")[2] or text
    if "-" in text or "_" in text:
        text = text.translate({ord("-"): "+", ord("_"): "/"})
    return base64.b64decode(text + "==")
