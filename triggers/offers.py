"""Who makes it: the provider that a request names, or the default one, and the request as this provider serves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reelkeeper.errors import FieldError, RequestRefused
from reelkeeper.model import Job, JobRequest
from reelkeeper.parts import IMAGES, VIDEOS
from reelkeeper.providers.base import Provider
from reelkeeper.services import Services
from triggers.bodies import ImageBody, InputImageBody, VideoBody, refused, to_request

NO_PROVIDER = {
    VIDEOS: "No video provider is configured. Set AZURE_SORA_ENDPOINT and AZURE_API_KEY, or OPENAI_BASE_URL, or "
    "PROVIDERS, then restart the app.",
    IMAGES: "No image provider is configured. Set IMAGE_ENDPOINT and IMAGE_API_KEY, or PROVIDERS, then restart the "
    "app.",
}


@dataclass(frozen=True)
class Offer:
    """A body and who can serve it; `moved_from`: the providers that have retired on the way to this one."""

    body: VideoBody | ImageBody
    provider: Provider
    moved_from: tuple[str, ...]
    request: JobRequest

    @property
    def image(self) -> InputImageBody | None:
        return _image_of(self.body)

    def job(self, job_id: str, owner: str, kind: str, now: datetime) -> Job:
        return Job(job_id, owner, kind, self.request, self.provider.name, now, now, moved_from=self.moved_from)

    def for_picture(self, size: tuple[int, int]) -> JobRequest:
        """The request once the pixel size of its picture is known. Raises RequestRefused (400)."""
        return to_request(self.body, self.provider, size)


def offer(services: Services, kind: str, body: VideoBody | ImageBody) -> Offer:
    """Raises RequestRefused: 503 when nobody is configured, 400 when nobody can serve this."""
    provider, moved_from = _choose(services, kind, body)
    return Offer(body, provider, moved_from, to_request(body, provider))


def _choose(services: Services, kind: str, body: VideoBody | ImageBody) -> tuple[Provider, tuple[str, ...]]:
    """The one that is named, or the default, or who takes over from it; and those that have retired on the way."""
    offered = {provider.name: provider for provider in services.providers.values() if provider.kind == kind}
    if not offered:
        raise RequestRefused(503, "no_provider", NO_PROVIDER[kind])
    name = body.provider
    living = [one.name for one in offered.values() if not one.terms.retired(services.now())]
    allowed = f"allowed: {', '.join(living)}" if living else "no other is configured"
    if name is not None and name not in offered:
        raise refused(FieldError("provider", f"{name!r} is not configured; {allowed}"))
    first = offered[name] if name is not None else next(iter(offered.values()))
    provider, passed = _who_lives(first, offered, living)
    if provider is None:
        retired = FieldError("provider", f"{first.name!r} retired after {first.terms.retires_on}; {allowed}")
        raise RequestRefused(400, "model_retired", f"{retired.field}: {retired.message}", (retired,))
    if _image_of(body) and not provider.abilities.input_image:
        able = ", ".join(one for one in living if offered[one].abilities.input_image)
        words = f"name one that does in provider: {able}" if able else "no configured provider does"
        raise refused(FieldError("input_image", f"{provider.name!r} makes no video from a picture; {words}"))
    return provider, passed


def _who_lives(
    first: Provider, offered: dict[str, Provider], living: list[str]
) -> tuple[Provider | None, tuple[str, ...]]:
    """The provider itself, or the nearest of its fallbacks that has not retired; and the retired ones before it."""
    names_to_try, passed = [first.name], tuple[str, ...]()
    while names_to_try:
        name = names_to_try.pop(0)
        if name in living:
            return offered[name], passed
        if name not in passed:
            passed += (name,)
            names_to_try += [one for one in offered[name].fallback if one in offered]
    return None, passed


def _image_of(body: VideoBody | ImageBody) -> InputImageBody | None:
    return body.input_image if isinstance(body, VideoBody) else None
