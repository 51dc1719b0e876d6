"""What the clients of the fault tests ask for: a video, a video from a picture, or images; and what may come of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from reelkeeper.parts import IMAGES, VIDEOS

VIDEO, PICTURED, IMAGE = "video", "pictured", "image"
COMPLETED, CANCELLED, DELETED = "completed", "cancelled", "deleted"
SIDE = 480


@dataclass
class Submission:
    """A client's wish for one job. `job_id` is known once any answer arrived.

    `kept`: how many outputs may be kept in the end, () for all that are asked for; 0 is a job that is parked.
    `creates`: how many creates of it the provider may have accepted. `ends`: how it may end. `answers`: the status
    codes that its client got for cancel and delete; `asked` is the last of these questions.
    """

    owner: str
    prompt: str
    what: str = VIDEO
    variants: int = 1
    kept: Collection[int] = ()
    creates: Collection[int] = (1,)
    job_id: str = ""
    post: Future[None] | None = None
    ends: Collection[str] = (COMPLETED,)
    answers: list[int] = field(default_factory=list)
    asked: Future[None] | None = None

    @property
    def kind(self) -> str:
        return IMAGES if self.what == IMAGE else VIDEOS

    @property
    def may_keep(self) -> Collection[int]:
        return self.kept or (self.variants,)

    def body(self) -> dict[str, Any]:
        """The create request."""
        body: dict[str, Any] = {"prompt": self.prompt, "n_variants": self.variants}
        if self.what == IMAGE:
            return body | {"output_format": "jpeg"}  # the simulator makes them faster than PNGs
        body |= {"width": SIDE, "height": SIDE, "n_seconds": 1}
        if self.what == PICTURED:
            body["input_image"] = {"base64": first_frame(), "media_type": "image/png"}
        return body

    def warning(self, kept: int) -> str | None:
        """What the job says when it kept so many."""
        short = kept < self.variants
        return f"The provider made {kept} of the {self.variants} {self.kind} asked for." if short else None


@cache
def first_frame() -> str:
    """A picture of the right size, as a request carries it."""
    from PIL import Image

    with io.BytesIO() as file:
        Image.new("RGB", (SIDE, SIDE), (20, 90, 160)).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()
