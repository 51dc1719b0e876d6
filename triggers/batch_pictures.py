"""The pictures that a batch's videos start from: fetched a few at a time, judged, and put below their jobs' prefixes.

A picture is put as soon as it is judged, by the thread that waits for the others: no more than a few are in memory, and
nothing is put any more once this has returned. After the first mistake the others are judged only, to tell all at once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta

from reelkeeper import names
from reelkeeper.errors import FieldError, RequestRefused
from reelkeeper.model import Job
from reelkeeper.pictures import Picture
from reelkeeper.services import Services
from triggers.accepting import BUSY, put_picture, watch, with_picture
from triggers.batch_bodies import Mistakes
from triggers.bodies import refused
from triggers.offers import Offer

log = logging.getLogger(__name__)

AT_ONCE, SECONDS = 3, 60
"""For all pictures of a batch together. One more is fetched at once in all, so a place is left for single jobs."""

LATE = f"was not fetched and judged within the {SECONDS} s for all pictures of a batch; send fewer or smaller ones"


def put_pictures(services: Services, jobs: list[Job], offers: list[Offer]) -> None:
    """Put every picture, and its job with it into `jobs`. Raises RequestRefused, with all that is wrong with them."""
    mistakes, until = Mistakes(), services.now() + timedelta(seconds=SECONDS)
    waiting = deque(index for index, offer in enumerate(offers) if offer.image)
    under_way: dict[Future[tuple[Job, Picture]], int] = {}
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        while (waiting or under_way) and (left := (until - services.now()).total_seconds()) > 0:
            while waiting and len(under_way) < AT_ONCE:
                index = waiting.popleft()
                under_way[pool.submit(with_picture, services, jobs[index], offers[index])] = index
            for done in wait(under_way, left, FIRST_COMPLETED).done:
                index = under_way.pop(done)
                try:
                    job, picture = done.result()
                    if not mistakes:
                        watch(services, job)  # should this process die, the sweep deletes what is put
                        jobs[index] = put_picture(services, job, picture)
                except RequestRefused as refusal:
                    if refusal.code == BUSY:
                        waiting.append(index)
                    else:
                        mistakes.add(index, refusal)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for index in sorted([*waiting, *under_way.values()]):
        mistakes.add(index, refused(FieldError("input_image", LATE)))
    mistakes.tell()


def take_back(services: Services, jobs: Iterable[Job]) -> None:
    """Delete the pictures of jobs that will not be."""
    for job in jobs:
        if job.request.input_image:
            try:
                services.clips.delete_all(names.job_prefix(job.owner, job.kind, job.job_id))
                services.watchdog.unwatch(job.job_id)
            except Exception:
                log.exception("job %s: refused, but its picture could not be deleted; the sweep will", job.job_id)
