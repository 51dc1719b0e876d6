"""download: bring one file of one output from the provider into uncommitted blocks of its final blob.

1. A blob that is committed already ends the matter; so do blocks that came with the answer of the create.
2. The staged blocks are the checkpoint: the transfer goes on behind the last full one, if the source is the same.
3. Each block is staged as it fills; the first one also proves that this is the promised kind of file, and names it.
One block is in memory at a time, and nothing of the file passes through the orchestration's history.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from reelkeeper import media, names, policy
from reelkeeper.arrivals import Arrivals
from reelkeeper.clips import blocks
from reelkeeper.clips.base import StagedBlock
from reelkeeper.clips.blocks import Chain
from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.model import Job, Output, Staged
from reelkeeper.parts import EXTENSIONS, IMAGES, THUMBNAIL, media_types
from reelkeeper.providers.base import Content, Provider
from reelkeeper.records.base import Watch
from reelkeeper.services import Services

log = logging.getLogger(__name__)

SOON = frozenset({"content_not_ready", "content_invalid", "provider_error", "rate_limited", "too_many_running"})


def download_part(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id, index, part}`` -> ``{run, blocks, size, media_type}`` staged, ``{stored: true}`` when there
    is nothing to do, or ``{fault, again, retry_after}``: `again` says whether another try within minutes makes
    sense, `retry_after` how many seconds the provider asked for (0 when it did not).

    Raises when our own storage fails.
    """
    job = services.jobs.get(work["owner"], work["job_id"])
    if job is None or job.finished:
        return {"stored": True}
    staging = _Staging(services, job, work["index"], work["part"])
    if any(services.clips.find(path) for path in staging.paths):
        return {"stored": True}
    output = job.outputs[work["index"]]
    if work["part"] != THUMBNAIL and (file := _came_with_the_answer(services, job, work["index"])):
        return staging.arrived(file)
    provider = services.provider_of(job)
    if provider is None:
        words = f"The file is at {job.place or job.provider!r}, which is not configured any more. Configure it again."
        fault = _as_expired(job, services, Fault("provider_error", words))
        return {"fault": fault.to_dict(), "again": False, "retry_after": 0.0}
    try:
        return _fetch(staging, provider, output)
    except ProviderError as error:
        what = "preview" if work["part"] == THUMBNAIL else "file"
        log.warning("job %s: %s of output %d: %s", job.job_id, what, work["index"], error.fault.code)
        fault = _as_expired(job, services, error.fault)
        pause = min(error.retry_after or 0.0, policy.LONGEST_WAIT)
        return {"fault": fault.to_dict(), "again": fault.code in SOON, "retry_after": pause}


def _came_with_the_answer(services: Services, job: Job, index: int) -> Staged | None:
    """Also where a worker of an earlier version has written the record back without it: the mark still tells."""
    output = job.outputs[index]
    if output.staged or output.address or job.kind != IMAGES:
        return output.staged
    found = Arrivals(services.clips, job).find(index)
    return found.staged if found else None


class _Staging:
    """Where one file goes, block by block; while blocks arrive the watchdog hears that the job is being worked on.

    The blob's name tells the file's type, so it is known when the first bytes are. `paths`: every name it may get.
    """

    def __init__(self, services: Services, job: Job, index: int, part: str) -> None:
        self.part, self.media_types = part, media_types(job.kind, part)
        self._services, self._job, self._index = services, job, index
        self.paths = [self._path(media_type) for media_type in self.media_types]
        self._tell_watchdog()

    def staged(self) -> list[StagedBlock]:
        """The blocks of an earlier try; none where not even the blob's name is certain."""
        return self._services.clips.staged(self.paths[0]) if len(self.paths) == 1 else []

    def add(self, index: int, run: str, data: bytes, media_type: str) -> None:
        self._services.clips.stage(self._path(media_type), blocks.block_id(index, run, data), data)
        if self._services.now() - self._told_at > policy.STEP_GRACE / 4:
            self._tell_watchdog()

    def arrived(self, file: Staged) -> dict[str, Any]:
        """The file that came with the answer of the create, if its blocks are all there still."""
        staged = self._services.clips.staged(self._path(file.media_type))
        if blocks.complete(staged, file.run, file.blocks, file.size):
            return asdict(file)
        words = "The file came with the provider's answer, and storage has lost it before it was committed."
        fault = Fault("content_expired", ADVICE["content_expired"], words)
        return {"fault": fault.to_dict(), "again": False, "retry_after": 0.0}

    def _path(self, media_type: str) -> str:
        job = self._job
        return names.clip_path(job.owner, job.kind, job.job_id, self._index, EXTENSIONS[media_type])

    def _tell_watchdog(self) -> None:
        job, self._told_at = self._job, self._services.now()
        due = self._told_at + policy.STEP_GRACE
        self._services.watchdog.watch(Watch(job.job_id, job.owner, job.kind, due, job.expires_at))


def _fetch(staging: _Staging, provider: Provider, output: Output) -> dict[str, Any]:
    chain = blocks.resumable(staging.staged())
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
    if part != THUMBNAIL:
        return provider.open_output(output)
    content = provider.open_thumbnail(output)
    if content is None:
        raise ProviderError(Fault("content_not_ready", "The provider has no thumbnail of this output."))
    return content


def _stage(staging: _Staging, content: Content, chain: Chain | None) -> dict[str, Any]:
    run = chain.run if chain else blocks.new_run(content.validator)
    index, size = (len(chain.block_ids), chain.size) if chain else (0, 0)
    media_type = staging.media_types[0]
    for data in _in_blocks(content.chunks()):
        if index == 0:
            head = data[: media.SNIFF_BYTES]
            if why := media.refusal(content.media_type, head, staging.media_types):
                raise _invalid(why)
            media_type = media.sniff(head) or media_type
        staging.add(index, run, data, media_type)
        index, size = index + 1, size + len(data)
    if not index:
        raise _invalid("it is empty")
    return asdict(Staged(run, index, size, media_type))


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
