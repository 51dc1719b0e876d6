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
    services.watchdog.watch(
        Watch(job.job_id, job.owner, job.kind, services.now() + policy.DOWNLOAD_GRACE, job.expires_at)
    )
    try:
        return _fetch(services, provider, output, work["part"], path)
    except ProviderError as error:
        log.warning("job %s: %s of output %d: %s", job.job_id, work["part"], work["index"], error.fault.code)
        fault = _as_expired(job, services, error.fault)
        pause = min(error.retry_after or 0.0, policy.LONGEST_WAIT)
        return {"fault": fault.to_dict(), "again": fault.code in SOON, "retry_after": pause}


def _fetch(services: Services, provider: Provider, output: Output, part: str, path: str) -> dict[str, Any]:
    chain = blocks.resumable(services.clips.staged(path)) if part == "video" else None
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
                return _stage(services, content, None, part, path)
            if content.offset == start.size and blocks.is_of_source(start.run, content.validator):
                return _stage(services, content, start, part, path)
        break
    with _open(provider, output, part) as content:
        return _stage(services, content, None, part, path)


def _open(provider: Provider, output: Output, part: str) -> Content:
    if part == "video":
        return provider.open_output(output)
    content = provider.open_thumbnail(output)
    if content is None:
        raise ProviderError(Fault("content_not_ready", "The provider has no thumbnail of this output."))
    return content


def _stage(services: Services, content: Content, chain: Chain | None, part: str, path: str) -> dict[str, Any]:
    run = chain.run if chain else blocks.new_run(content.validator)
    index, size = (len(chain.block_ids), chain.size) if chain else (0, 0)
    for data in _in_blocks(content.chunks()):
        if index == 0:
            why = media.refusal(content.media_type, data[: media.SNIFF_BYTES], PARTS[part].media_type)
            if why:
                raise _invalid(why)
        services.clips.stage(path, blocks.block_id(index, run, data), data)
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
