"""How a task looks to clients of `openai-videos`: its id and its video object, by the profile in force.

LiteLLM packs provider, model and the upstream's id into base64; its GET packs the same without the model, so that the
id it answers differs from the one that create returned. Both lead to the task, and so does the bare one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from emulator.sora.profiles import Profile
from emulator.sora.refusals import failure
from emulator.sora.tasks import Task

_PREFIX = "video_"
_PACKED = "litellm:custom_llm_provider:openai;model_id:{model};video_id:{id}"


def show_id(task: Task, profile: Profile, created: bool = False) -> str:
    """The id that clients see: in the answer of create, or anywhere else."""
    if not profile.packed_ids:
        return task.id
    model = hashlib.sha256(task.model.encode()).hexdigest() if created else ""
    # upstreams like Vertex name operations at such length
    upstream = f"{task.id}.{hashlib.shake_256(task.id.encode()).hexdigest(400)}"
    return _PREFIX + base64.b64encode(_PACKED.format(model=model, id=upstream).encode()).decode()


def read_id(shown: str, profile: Profile) -> str:
    """The task's id behind one that clients see."""
    if not profile.packed_ids:
        return shown
    try:
        packed = base64.b64decode(shown.removeprefix(_PREFIX), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return shown
    return packed.rpartition("video_id:")[2].partition(".")[0]


def show_status(task: Task, profile: Profile, now: float) -> str:
    """The status word: queued, in_progress (or the server's own word), completed, failed, cancelled."""
    phase = task.phase(now)
    if phase in ("queued", "preparing"):
        return "queued"
    return {"rendering": profile.running_word, "finishing": profile.running_word, "succeeded": "completed"}.get(
        phase, phase
    )


def show(task: Task, profile: Profile, now: float, *, odd: str | None = None, created: bool = False) -> dict[str, Any]:
    """The video object. `odd`: a status word nobody documented; nothing is finished then."""
    status = odd or show_status(task, profile, now)
    progress = task.progress(now)
    if odd or (not profile.progress_moves and progress < 100):
        progress = 0
    failed = status == "failed"
    return {
        "id": show_id(task, profile, created),
        "object": "video",
        "model": task.model,
        "status": status,
        "progress": progress,
        "prompt": task.prompt,
        "created_at": int(task.created),
        "completed_at": None if odd else task.finished_at(now),
        "expires_at": None if odd else task.expires_at(now),
        "size": f"{task.width}x{task.height}",
        "seconds": str(task.seconds),
        "remixed_from_video_id": None,
        "error": failure(profile.words, task.reason or "internal_error") if failed else None,
    }
