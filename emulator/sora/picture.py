"""Draw the simulated video's frames: a title card with the prompt, a drifting light, a counter and a progress bar.

The still part is drawn once on Y, U and V planes kept as plain bytes; each frame then moves only the light, the
digits and the bar by slice assignment and `bytes.translate`, which is fast enough without numpy.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
from dataclasses import dataclass

from emulator.sora.font import ROWS, draw_line, measure, plain, wrap

BAND, WHITE = 22, 235  # luma of the band below and of text
_LIGHTER = bytes(min(value + 5, WHITE) for value in range(256))


@dataclass(frozen=True)
class Card:
    """What a video shows. `label` is the small line on top; `seed` decides the colours."""

    prompt: str
    label: str
    seed: str
    width: int
    height: int
    seconds: float
    fps: int

    @property
    def frames(self) -> int:
        """Number of frames."""
        return max(1, round(self.seconds * self.fps))


def _yuv(hue: float, light: float, saturation: float) -> tuple[int, int, int]:
    """A colour as limited-range BT.709."""
    r, g, b = colorsys.hls_to_rgb(hue % 1.0, light, saturation)
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return round(16 + 219 * y), round(128 + 224 * (b - y) / 1.8556), round(128 + 224 * (r - y) / 1.5748)


class Painter:
    """Paints one card. `strides` are the row lengths in bytes of the Y, U and V planes to be filled."""

    def __init__(self, card: Card, strides: tuple[int, int, int]) -> None:
        self.card, self._strides = card, strides
        seed = hashlib.sha256(card.seed.encode()).digest()
        hue = seed[0] / 256
        self._near, self._far = _yuv(hue, 0.34, 0.62), _yuv(hue + 0.09 + seed[1] / 2048, 0.13, 0.70)
        self._bar = _yuv(hue + 0.45, 0.62, 0.85)
        self._unit = max(1, min(card.width, card.height) // 240)
        self._margin = card.width // 16 & ~1
        self._phase = seed[2] / 256 * math.tau
        self._planes = [self._gradient(plane) for plane in range(3)]
        self._band_top = (card.height - (ROWS + 13) * self._unit) & ~1
        self._draw_texts()
        self._still = [bytes(plane) for plane in self._planes]

    def _gradient(self, plane: int) -> bytearray:
        """Fill a plane with a diagonal gradient: every row is a window that slides along one ramp."""
        shift = 1 if plane else 0
        width, height, stride = self.card.width >> shift, self.card.height >> shift, self._strides[plane]
        near, far, length = self._near[plane], self._far[plane], width + height
        # An error-diffused ramp hides the steps between neighbouring shades.
        ramp, carried = bytearray(), 0.0
        for at in range(length):
            exact = near + (far - near) * at / length + carried
            ramp.append(round(exact))
            carried = exact - ramp[-1]
        rows = bytearray()
        for y in range(height):
            rows += ramp[y : y + width] + bytes(stride - width)
        return rows

    def _draw_texts(self) -> None:
        card, unit, left = self.card, self._unit, self._margin
        label_top = left // 2 + 2 * unit & ~1
        label, small = plain(card.label), unit
        while small > 1 and measure(label, small) > card.width - 2 * left:
            small -= 1
        self._text(left, label_top, label, small, 0.72)
        self._fill(left, label_top + 12 * unit, 12 * unit, unit, self._bar)
        room_top = label_top + 20 * unit
        room = self._band_top - room_top - 6 * unit
        pitch, lines = self._fit(plain(card.prompt), card.width - 2 * left, room)
        leading = (ROWS + 3) * pitch
        top = room_top + max(0, room - len(lines) * leading) // 3
        for number, line in enumerate(lines):
            self._text(left, top + number * leading, line, pitch, 1.0)
        self._fill(0, self._band_top, card.width, card.height - self._band_top, (BAND, 128, 128))

    def _fit(self, prompt: str, width: int, height: int) -> tuple[int, list[str]]:
        """Find the largest size at which the prompt fits, or cut it at the smallest."""
        lines: list[str] = []
        for pitch in range(3 * self._unit, 0, -1):
            lines = wrap(prompt, pitch, width) or []
            if lines and len(lines) * (ROWS + 3) * pitch <= height * 4 // 5:  # the rest is air
                return pitch, lines
        shown = lines[: max(0, height // (ROWS + 3))]
        return 1, shown if len(shown) == len(lines) else [*shown[:-1], "..."]

    def _text(self, left: int, top: int, text: str, pitch: int, strength: float) -> None:
        """Blend a line of white text into the still picture; `left` is even."""
        for number, coverage in enumerate(draw_line(text, pitch)):
            self._blend(0, left, top + number, coverage, WHITE, strength)
            if (top + number) % 2 == 0:
                for plane in (1, 2):
                    self._blend(plane, left // 2, (top + number) // 2, coverage[::2], 128, 0.8 * strength)

    def _blend(self, plane: int, left: int, row: int, coverage: bytes, shade: int, strength: float) -> None:
        pixels, start = self._planes[plane], row * self._strides[plane] + left
        under = pixels[start : start + min(len(coverage), self._strides[plane] - left)]
        pixels[start : start + len(under)] = bytes(
            below + int((shade - below) * strength * cover) // 255 if cover else below
            for below, cover in zip(under, coverage, strict=False)
        )

    def _fill(self, left: int, top: int, width: int, height: int, colour: tuple[int, int, int]) -> None:
        """Fill a rectangle with even edges on all planes."""
        for plane, (stride, shade) in enumerate(zip(self._strides, colour, strict=True)):
            shift = 1 if plane else 0
            run = bytes([shade]) * (width >> shift)
            for row in range(top >> shift, (top + height) >> shift):
                start = row * stride + (left >> shift)
                self._planes[plane][start : start + len(run)] = run

    def frame(self, number: int) -> list[bytearray]:
        """Paint frame `number` (0-based): the three planes, valid until the next call."""
        self._clean()
        self._light(number)
        self._counter(number)
        self._progress(number)
        return self._planes

    def picture(self) -> list[bytearray]:
        """Paint the card as a picture: nothing counts or runs, the band tells the seed."""
        self._clean()
        self._light(0)
        self._band_text(self._margin, self._band_top + 8 * self._unit, self.card.seed)
        return self._planes

    def _clean(self) -> None:
        for plane, still in zip(self._planes, self._still, strict=True):
            plane[:] = still

    def _light(self, number: int) -> None:
        """Lighten a soft disc that drifts across the picture; white text stays white."""
        card, plane, stride = self.card, self._planes[0], self._strides[0]
        turn = self._phase + math.tau * number / max(card.frames, 4 * card.fps)
        middle_x = card.width * (0.70 + 0.18 * math.cos(turn))
        middle_y = self._band_top * (0.45 + 0.22 * math.sin(turn))
        for ring in range(4):
            radius = min(card.width, card.height) * (0.34 - 0.05 * ring)
            for y in range(max(0, int(middle_y - radius)), min(self._band_top, int(middle_y + radius))):
                half = math.sqrt(max(0.0, radius * radius - (y + 0.5 - middle_y) ** 2))
                start = y * stride + max(0, int(middle_x - half))
                end = y * stride + min(card.width, int(middle_x + half))
                plane[start:end] = plane[start:end].translate(_LIGHTER)

    def _counter(self, number: int) -> None:
        """Write time and frame number into the band below."""
        card, unit = self.card, self._unit
        time = f"{number / card.fps:05.2f} / {card.seconds:05.2f} s"
        frame = f"frame {number + 1} / {card.frames}"
        top = self._band_top + 8 * unit
        self._band_text(self._margin, top, time)
        right = card.width - self._margin - measure(frame, unit)
        if right > self._margin + measure(time, unit):
            self._band_text(right, top, frame)

    def _band_text(self, left: int, top: int, text: str) -> None:
        plane, stride = self._planes[0], self._strides[0]
        shades = bytes(BAND + (WHITE - BAND) * cover // 255 for cover in range(256))
        for row, coverage in enumerate(draw_line(text, self._unit)):
            start = (top + row) * stride + left
            end = min(start + len(coverage), (top + row + 1) * stride)
            plane[start:end] = coverage[: end - start].translate(shades)

    def _progress(self, number: int) -> None:
        """Fill the bar on the band's upper edge."""
        reached = self.card.width * (number + 1) // self.card.frames
        self._fill(0, self._band_top, reached, 2 * self._unit, self._bar)
