"""store: make the downloaded file visible in the owner's storage, in one conditional commit.

1. A blob that is committed already is the answer: a second run changes nothing.
2. A job that its owner has cancelled or deleted keeps nothing.
3. Exactly the blocks that `download` vouched for are committed, with content type, cache headers, file name, metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from reelkeeper import model, names
from reelkeeper.clips import blocks
from reelkeeper.clips.base import MissingBlocks, StoredClip
from reelkeeper.errors import ADVICE, Fault
from reelkeeper.model import Clip, Job
from reelkeeper.parts import EXTENSIONS, KINDS, THUMBNAIL, media_types
from reelkeeper.services import Services

log = logging.getLogger(__name__)

UNWANTED = Fault("task_lost", "The job was cancelled or deleted while its file was fetched.")


def store_part(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """``{owner, job_id, index, part, staged}``, the last as `download` answered -> ``{clip}`` or ``{fault}``.

    The clip of a thumbnail is the picture's own path and size. Raises when our own storage fails.
    """
    job = services.jobs.get(work["owner"], work["job_id"])
    if job is None or job.status == model.CANCELLED:
        return _unwanted(services, work)
    index, staged = work["index"], work["staged"]
    paths = {
        media_type: names.clip_path(job.owner, job.kind, job.job_id, index, EXTENSIONS[media_type])
        for media_type in media_types(job.kind, work["part"])
    }
    stored = _find(services, paths.values())
    if stored is None:
        # earlier versions did not tell the type: each part had one
        media_type = staged.get("media_type") or ("image/jpeg" if work["part"] == THUMBNAIL else "video/mp4")
        path = paths.get(media_type) if "run" in staged else None
        if path is None:  # there was nothing to download, because the job had ended or the blob was there
            return _gone(job, work["part"])
        chain = blocks.complete(services.clips.staged(path), staged["run"], staged["blocks"], staged["size"])
        if chain is None:
            # another run's commit, since we looked, uses up every staged block: then its blob is the answer
            stored = _find(services, [path])
            return {"clip": asdict(_clip(job, index, stored))} if stored else _gone(job, path)
        output_id = quote(job.outputs[index].output_id, safe="")
        try:
            stored = services.clips.commit(
                path,
                list(chain.block_ids),
                content_type=media_type,
                filename=names.file_name(job.kind, job.job_id, index, EXTENSIONS[media_type]),
                metadata={
                    "job": job.job_id,
                    "output": output_id,
                    "provider": quote(job.provider),
                    "digest": chain.digest,
                },
            )
        except MissingBlocks:
            return _gone(job, path)
        log.info("job %s: stored %s, %d bytes", job.job_id, path, stored.size)
        if not _is_wanted(services, job):  # whoever deleted its files may have looked before this one was there
            return _unwanted(services, work)
    return {"clip": asdict(_clip(job, index, stored))}


def _is_wanted(services: Services, job: Job) -> bool:
    current = services.jobs.get(job.owner, job.job_id)
    return current is not None and current.status != model.CANCELLED


def _unwanted(services: Services, work: dict[str, Any]) -> dict[str, Any]:
    """Also what an earlier run of this step has committed; without a record nobody knows the kind."""
    for kind in KINDS:
        services.clips.delete_all(names.job_prefix(work["owner"], kind, work["job_id"]))
    return {"fault": UNWANTED.to_dict()}


def _find(services: Services, paths: Iterable[str]) -> StoredClip | None:
    return next((stored for path in paths if (stored := services.clips.find(path))), None)


def _clip(job: Job, index: int, stored: StoredClip) -> Clip:
    output = job.outputs[index]
    return Clip(
        index=index,
        path=stored.path,
        size=stored.size,
        content_type=stored.content_type,
        digest=stored.metadata.get("digest", ""),
        output_id=output.output_id,
        width=output.width,
        height=output.height,
        n_seconds=output.n_seconds,
    )


def _gone(job: Job, path: str) -> dict[str, Any]:
    log.warning("job %s: the staged blocks of %s are not complete; fetching again", job.job_id, path)
    words = "The staged blocks were no longer complete."
    return {"fault": Fault("content_invalid", ADVICE["content_invalid"], words).to_dict()}
