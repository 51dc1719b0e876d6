"""Outputs that come with the answer of a create itself. They are paid for and cannot be had again, so each is put into
uncommitted blocks of its final blob before the next one is read, and marked as whole: whoever comes after a crash finds
what had arrived by that mark alone.
"""

from __future__ import annotations

from reelkeeper import media, names, pictures
from reelkeeper.clips import blocks
from reelkeeper.clips.base import Clips
from reelkeeper.clips.blocks import Mark
from reelkeeper.model import Job, Output, Staged
from reelkeeper.parts import EXTENSIONS, OUTPUT, media_types
from reelkeeper.policy import BLOCK_BYTES

MARK_BYTES = b"="
"""A block cannot be empty."""


class Arrivals:
    """The outputs of one submission of a job, under ids that we make: providers give such outputs none."""

    def __init__(self, clips: Clips, job: Job) -> None:
        self.task_id = f"{job.kind.rstrip('s')}_{job.submit_run}"
        self._clips, self._job = clips, job

    def receive(self, index: int, what: bytes | str) -> Output:
        """Stage the file of output `index`, or remember its address. Raises ValueError for what is no such file."""
        request = self._job.request
        if isinstance(what, str):
            return Output(self._id(index), request.width, request.height, 0, address=what)
        media_type = media.sniff(what[: media.SNIFF_BYTES])
        if media_type not in media_types(self._job.kind, OUTPUT):
            raise ValueError("its first bytes are those of no picture")
        path, run = self._path(index, media_type), blocks.new_run("")
        starts = range(0, len(what), BLOCK_BYTES)
        for number, start in enumerate(starts):
            data = what[start : start + BLOCK_BYTES]
            self._clips.stage(path, blocks.block_id(number, run, data), data)
        mark = Mark(run, len(starts), len(what), *(_pixels(what) or (request.width, request.height)))
        self._clips.stage(path, mark.block_id, MARK_BYTES)
        return self._output(index, mark, media_type)

    def found(self) -> tuple[Output, ...]:
        """Every output that has arrived whole and is not committed yet, whatever run of the job received it."""
        return tuple(output for index in range(self._job.request.n_variants) if (output := self.find(index)))

    def find(self, index: int) -> Output | None:
        for media_type in media_types(self._job.kind, OUTPUT):
            for mark in blocks.marks(self._clips.staged(self._path(index, media_type))):
                return self._output(index, mark, media_type)
        return None

    def _output(self, index: int, mark: Mark, media_type: str) -> Output:
        staged = Staged(mark.run, mark.blocks, mark.size, media_type)
        return Output(self._id(index), mark.width, mark.height, 0, staged=staged)

    def _path(self, index: int, media_type: str) -> str:
        job = self._job
        return names.clip_path(job.owner, job.kind, job.job_id, index, EXTENSIONS[media_type])

    def _id(self, index: int) -> str:
        return f"{self.task_id}_{index}"


def _pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height as the picture itself tells them: where the size was left to the provider, nobody else does."""
    try:
        form = pictures.inspect(data)
    except pictures.PictureRefused:
        return None
    return form.width, form.height
