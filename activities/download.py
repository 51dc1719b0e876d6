"""download: bring one file of one output from the provider into uncommitted blocks of its final blob.

1. A blob that is committed already ends the matter.
2. The staged blocks are the checkpoint: the transfer goes on behind the last full one, if the source is the same.
3. Each block is staged as it fills; the first one also proves that this is the promised kind of file.
One block is in memory at a time, and nothing of the file passes through the orchestration's history.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from reelkeeper import media, names, policy
from reelkeeper.clips import blocks
from reelkeeper.clips.blocks import Chain
from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.model import Job, Output
from reelkeeper.parts import PARTS
from reelkeeper.providers.base import Content, Provider
from reelkeeper.records.base import Watch
from reelkeeper.services import Services

log = logging.getLogger(__name__)

SOON = frozenset({"content_not_ready", "content_invalid", "provider_error", "rate_limited", "too_many_running"})


def download_part(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id, index, part}`` -> ``{run, blocks, size}`` staged, ``{stored: true}`` when there
    is nothing to do, or ``{fault, again, retry_after}``: `again` says whether another try within minutes makes
    sense, `retry_after` how many seconds the provider asked for (0 when it did not).

    Raises when our own storage fails.
    """
    job = services.jobs.get(work["owner"], work["job_id"])
    if job is None or job.finished:
        return {"stored": True}
    output, part = job.outputs[work["index"]], PARTS[work["part"]]
    path = names.clip_path(job.owner, job.kind, job.job_id, work["index"], part.extension)
    if services.clips.find(path):
        return {"stored": True}
    provider = services.providers.get(job.provider)
    if provider is None or job.place not in (None, provider.place):
        words = f"The file is at {job.place or job.provider!r}, which is not configured any more. Configure it again."
        fault = _as_expired(job, services, Fault("provider_error", words))
        return {"fault": fault.to_dict(), "again": False, "retry_after": 0.0}
    try:
        return _fetch(_Staging(services, job, path, work["part"]), provider, output)
    except ProviderError as error:
        log.warning("job %s: %s of output %d: %s", job.job_id, work["part"], work["index"], error.fault.code)
        fault = _as_expired(job, services, error.fault)
        pause = min(error.retry_after or 0.0, policy.LONGEST_WAIT)
        return {"fault": fault.to_dict(), "again": fault.code in SOON, "retry_after": pause}


class _Staging:
    """Where one file goes, block by block; while blocks arrive the watchdog hears that the job is being worked on."""

    def __init__(self, services: Services, job: Job, path: str, part: str) -> None:
        self.services, self.path, self.part = services, path, part
        self._job = job
        self._tell_watchdog()

    def add(self, index: int, run: str, data: bytes) -> None:
        self.services.clips.stage(self.path, blocks.block_id(index, run, data), data)
        if self.services.now() - self._told_at > policy.STEP_GRACE / 4:
            self._tell_watchdog()

    def _tell_watchdog(self) -> None:
        job, self._told_at = self._job, self.services.now()
        due = self._told_at + policy.STEP_GRACE
        self.services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, due, job.expires_at))


def _fetch(staging: _Staging, provider: Provider, output: Output) -> dict[str, Any]:
    staged = staging.services.clips.staged(staging.path) if staging.part == "video" else []
    chain = blocks.resumable(staged)
    # 416: every block is there already; one block less finds out whether the source is still the same
    for start in (chain, chain.without_last() if chain else None):
        if start is None:
            continue
        try:
            content = provider.open_output(output, start.size)
        except ProviderError as error:
            if error.fault.provider_status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                continue
            raise
        with content:
            if content.offset == 0:
                return _stage(staging, content, None)
            if content.offset == start.size and blocks.is_of_source(start.run, content.validator):
                return _stage(staging, content, start)
        break
    with _open(provider, output, staging.part) as content:
        return _stage(staging, content, None)


def _open(provider: Provider, output: Output, part: str) -> Content:
    if part == "video":
        return provider.open_output(output)
    content = provider.open_thumbnail(output)
    if content is None:
        raise ProviderError(Fault("content_not_ready", "The provider has no thumbnail of this output."))
    return content


def _stage(staging: _Staging, content: Content, chain: Chain | None) -> dict[str, Any]:
    run = chain.run if chain else blocks.new_run(content.validator)
    index, size = (len(chain.block_ids), chain.size) if chain else (0, 0)
    for data in _in_blocks(content.chunks()):
        if index == 0:
            why = media.refusal(content.media_type, data[: media.SNIFF_BYTES], PARTS[staging.part].media_type)
            if why:
                raise _invalid(why)
        staging.add(index, run, data)
        index, size = index + 1, size + len(data)
    if not index:
        raise _invalid("it is empty")
    return {"run": run, "blocks": index, "size": size}


def _in_blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Regroup pieces of any size into blocks; the last one is what is left."""
    block, filled = bytearray(policy.BLOCK_BYTES), 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            taken = rest[: policy.BLOCK_BYTES - filled]
            block[filled : filled + len(taken)] = taken
            filled, rest = filled + len(taken), rest[len(taken) :]
            if filled == policy.BLOCK_BYTES:
                yield bytes(block)
                filled = 0
    if filled:
        yield bytes(block[:filled])


def _invalid(why: str) -> ProviderError:
    return ProviderError(Fault("content_invalid", ADVICE["content_invalid"], f"The file was refused: {why}."))


def _as_expired(job: Job, services: Services, fault: Fault) -> Fault:
    if job.expires_at is not None and services.now() >= job.expires_at and fault.code != "content_expired":
        return Fault("content_expired", ADVICE["content_expired"], fault.provider_message, fault.provider_status)
    return fault
