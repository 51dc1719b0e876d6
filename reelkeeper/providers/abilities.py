"""What a provider can make, and what it would refuse of a request, each time with the values that it allows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reelkeeper.errors import FieldError
from reelkeeper.model import JobRequest

FORMATS = ("png", "jpeg", "webp")
BACKGROUNDS = ("auto", "transparent", "opaque")


@dataclass(frozen=True)
class SizeRule:
    """Any size whose sides are multiples of `step`, within these bounds in pixels; `max_ratio`: long to short side."""

    step: int
    min_pixels: int
    max_pixels: int
    max_side: int
    max_ratio: float

    def allows(self, width: int, height: int) -> bool:
        low, high = sorted((width, height))
        fits = low > 0 and high <= self.max_side and high <= low * self.max_ratio
        return fits and not width % self.step and not height % self.step and self._area(width * height)

    def _area(self, pixels: int) -> bool:
        return self.min_pixels <= pixels <= self.max_pixels

    def __str__(self) -> str:
        return (
            f"both sides a multiple of {self.step} and at most {self.max_side}, the long one at most "
            f"{self.max_ratio:g} times the short one, {self.min_pixels} to {self.max_pixels} pixels in all"
        )


@dataclass(frozen=True)
class Abilities:
    """What a provider can make. `seconds`: every length it makes, shortest first; () for images, which have none.
    `variants_by_pixels`: pairs of a frame area and the most outputs of one task from that area up, largest area first.
    `default_seconds`: the length that no server of the dialect refuses.

    `size_rule`: sizes besides the listed ones. `auto_size`: the size may be left to the provider (0 x 0). `formats`,
    `qualities`, `backgrounds`: allowed words; () where nobody knows them, and anything goes. `input_image`: whether it
    makes a video from a picture.
    """

    sizes: tuple[tuple[int, int], ...]
    seconds: tuple[int, ...]
    variants_by_pixels: tuple[tuple[int, int], ...]
    max_prompt: int = 4000
    default_seconds: int = 5
    size_rule: SizeRule | None = None
    auto_size: bool = False
    formats: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    input_image: bool = False

    def variants(self, width: int, height: int) -> int:
        """The most outputs one task of this size may have."""
        return next(most for pixels, most in self.variants_by_pixels if width * height >= pixels)

    def offers(self, width: int, height: int) -> bool:
        if (width, height) == (0, 0):
            return self.auto_size
        ruled = self.size_rule is not None and self.size_rule.allows(width, height)
        return ruled or (width, height) in self.sizes

    @property
    def any_second(self) -> bool:
        """Whether every whole number between the shortest and the longest is possible."""
        return 1 < len(self.seconds) == self.seconds[-1] - self.seconds[0] + 1

    def usual_size(self, wanted: tuple[int, int]) -> tuple[int, int]:
        """The size for somebody who names none: `wanted` where it is possible, else the first."""
        return wanted if self.offers(*wanted) else self.sizes[0]

    @property
    def usual_seconds(self) -> int:
        """The length for somebody who names none: the default, or the possible one that is nearest to it."""
        if not self.seconds:
            return 0
        return min(self.seconds, key=lambda seconds: (abs(seconds - self.default_seconds), seconds))

    def refusals(self, request: JobRequest) -> tuple[FieldError, ...]:
        """Every field that this provider would refuse, each with the values that it allows."""
        errors = []
        if len(request.prompt) > self.max_prompt:
            message = f"has {len(request.prompt)} characters; at most {self.max_prompt} are allowed"
            errors.append(FieldError("prompt", message))
        if self.seconds and request.n_seconds not in self.seconds:
            low, high, listed = self.seconds[0], self.seconds[-1], ", ".join(map(str, self.seconds))
            allowed = f"a whole number from {low} to {high}" if self.any_second else f"one of {listed}"
            errors.append(FieldError("n_seconds", f"must be {allowed}"))
        if not self.offers(request.width, request.height):
            errors.append(self._size_refusal(request.width, request.height))
        elif (most := self.variants(request.width, request.height)) < request.n_variants or request.n_variants < 1:
            at = f" at {request.width}x{request.height}" if request.width else ""
            errors.append(FieldError("n_variants", f"must be from 1 to {most}{at}"))
        if request.input_image and not self.input_image:
            errors.append(FieldError("input_image", "is not offered; leave it out"))
        for name, allowed_words in self._words().items():
            word = getattr(request, name)
            if word is not None and allowed_words and word not in allowed_words:
                errors.append(FieldError(name, f"must be one of {', '.join(allowed_words)}"))
        if request.background == "transparent" and request.output_format == "jpeg":
            errors.append(FieldError("background", "transparent needs the output_format png or webp"))
        return tuple(errors)

    def _words(self) -> dict[str, tuple[str, ...]]:
        return {"output_format": self.formats, "quality": self.qualities, "background": self.backgrounds}

    def _size_refusal(self, width: int, height: int) -> FieldError:
        allowed = [f"one of {', '.join(f'{wide}x{high}' for wide, high in self.sizes)}"] if self.sizes else []
        allowed += [str(self.size_rule)] if self.size_rule else []
        message = f"{width}x{height} is not offered; width x height must be {', or '.join(allowed)}"
        known_width = not self.size_rule and any(wide == width for wide, _ in self.sizes)
        return FieldError("height" if known_width else "width", message)
