"""How servers of the dialects `openai-videos` and `openai-images` differ from each other, as one table.

`azure` and `openai` follow the published rules strictly; the others are programs people run or gateways, each with the
deviations its source shows. A profile is data only: the dialects ask it what to do. The dialect `azure-jobs` has one
server in the world and knows no profiles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """One server's ways. `about` lists what a client must survive."""

    name: str
    about: str
    words: str  # whose wording errors have, see refusals.py
    # requests
    strict: bool = False  # exact types, and unknown fields are refused
    model_required: bool = False
    model_first: bool = False  # the deployment is looked up before the rest of the body is read
    form_only: bool = False  # create wants multipart/form-data
    object_reference: bool = False  # input_reference may be {"image_url": ...} in JSON
    checks_reference: bool = True  # input_reference must be a file of a known type and of the asked size
    seconds: tuple[str, ...] = ()  # none: any whole number from 1
    sizes: tuple[str, ...] = ()  # none: any
    bearer_only: bool = False  # does not know the header `api-key`
    # the video object
    id_prefix: str = "video_"
    packed_ids: bool = False  # over 1,000 characters of base64, and GET answers another id than create
    running_word: str = "in_progress"
    progress_moves: bool = True  # else 0 until it is 100
    failed_is_error: bool = False  # GET of a failed video answers with the error's HTTP status
    poll_hint: bool = False  # header openai-poll-after-ms
    # listing, deleting, keeping
    list_page: int | None = None  # default `limit`; none: everything
    list_least: int = 0
    list_cursors: bool = True  # first_id, last_id, has_more
    list_needs_model: bool = False
    delete: str = "finished"  # finished: only then; aborts: also while running; hides: the work goes on unseen
    kept_seconds: float | None = None  # none: for ever
    kept_from_creation: bool = False  # else from the end
    remembers_expired: bool = False  # only the content goes, the video object stays
    forgets: bool = False  # in memory: a restart forgets every task
    # content
    variants: str = "ignored"  # names: video, thumbnail, spritesheet; index: a number; ignored: always the video
    attachment: bool = False  # content-disposition
    ranges: bool = True
    open_content: bool = False  # no key wanted
    cloud: bool = False  # can leave content in a cloud storage
    # images
    webp: bool = True
    filter_results: bool = False
    image_answers: tuple[str, ...] = ()  # response_format, default first; none: the model's own rule


_OPENAI_SIZES = ("720x1280", "1280x720", "1024x1792", "1792x1024")
_OPENAI_SECONDS = ("4", "8", "12", "16", "20")

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "azure",
            "Azure OpenAI: 720x1280 and 1280x720; 4, 8 or 12 s; kept 24 h from creation; no webp images",
            "azure",
            strict=True,
            model_required=True,
            model_first=True,
            seconds=("4", "8", "12"),
            sizes=("720x1280", "1280x720"),
            poll_hint=True,
            list_page=20,
            kept_seconds=86400.0,
            kept_from_creation=True,
            variants="names",
            webp=False,
            filter_results=True,
        ),
        Profile(
            "openai",
            "OpenAI: Bearer only; more sizes, up to 20 s; content is kept 1 h after the end, the video\nobject stays",
            "openai",
            strict=True,
            bearer_only=True,
            object_reference=True,
            seconds=_OPENAI_SECONDS,
            sizes=(*_OPENAI_SIZES, "1080x1920", "1920x1080"),
            poll_hint=True,
            list_page=20,
            kept_seconds=3600.0,
            remembers_expired=True,
            variants="names",
        ),
        Profile(
            "vllm-omni",
            "vLLM-Omni: multipart only; GET of a failed job is a 4xx/5xx with the job as its body and\n"
            "an int error.code; its content is a 422; any seconds and size; variant ignored; a restart\n"
            "forgets all",
            "vllm",
            form_only=True,
            checks_reference=False,
            id_prefix="video_gen_",
            progress_moves=False,
            failed_is_error=True,
            delete="aborts",
            attachment=True,
            image_answers=("b64_json",),
            bearer_only=True,
            forgets=True,
        ),
        Profile(
            "sglang",
            "SGLang diffusion: variant is an output's number (variant=video is a 404); errors without\n"
            "code; delete does not abort and answers the job; bare list; a restart forgets all; with\n"
            "--cloud content is a 400 that carries a URL",
            "sglang",
            checks_reference=False,
            id_prefix="",
            progress_moves=False,
            list_least=1,
            list_cursors=False,
            delete="hides",
            variants="index",
            attachment=True,
            cloud=True,
            image_answers=("b64_json", "url"),
            bearer_only=True,
            forgets=True,
        ),
        Profile(
            "litellm",
            "LiteLLM proxy: ids of over 1,000 characters; GET answers another id than create; the list\n"
            "wants a model; content without Range; error texts wrap the upstream's",
            "litellm",
            object_reference=True,
            seconds=_OPENAI_SECONDS,
            sizes=_OPENAI_SIZES,
            packed_ids=True,
            list_page=20,
            list_needs_model=True,
            kept_seconds=3600.0,
            remembers_expired=True,
            attachment=True,
            ranges=False,
        ),
        Profile(
            "aquiles",
            "Aquiles-Image: status word `processing`; content without a key; a wrong key is a 403, a\n"
            "full house a 503, a wrong field or content before the end a bare 500",
            "aquiles",
            checks_reference=False,
            sizes=_OPENAI_SIZES,
            running_word="processing",
            list_page=20,
            delete="hides",
            open_content=True,
            image_answers=("url", "b64_json"),
            bearer_only=True,
            forgets=True,
        ),
    )
}


def find_profile(name: str, cloud: bool = False) -> Profile:
    """Look a profile up; ValueError when there is none of that name, or `cloud` is wanted and it has no such option."""
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}: use {', '.join(PROFILES)}")
    if cloud and not PROFILES[name].cloud:
        raise ValueError(f"profile {name} keeps no content in a cloud storage; sglang can")
    return PROFILES[name]
