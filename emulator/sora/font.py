"""A small outline font: a 5x8 dot matrix read as strokes, so that it stays smooth at any size.

Each character is five columns of eight dots. Neighbouring dots are joined by round pen strokes (diagonal ones only
where no straight one leads there), drawn with soft edges: legible text without a font file or a new dependency.
Letters outside ASCII lose their accents, or become a box.
"""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache

ROWS = 8
_LONGEST_WORD = 24
_COLUMNS = bytes.fromhex(
    "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649562050 0000070000"  # space to '
    "001c224100 0041221c00 2a1c7f1c2a 08083e0808 0080600000 0808080808 0060600000 2010080402"  # ( to /
    "3e5149453e 00427f4000 6251494946 2241494936 1814127f10 2745454539 3c4a494930 0171090503"  # 0 to 7
    "3649494936 064949291e 0036360000 0080760000 0814224100 1414141414 0041221408 0201510906"  # 8 to ?
    "3e415d551e 7e1111117e 7f49494936 3e41414122 7f4141413e 7f49494941 7f09090901 3e4149497a"  # @ to G
    "7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f020c027f 7f0408107f 3e4141413e"  # H to O
    "7f09090906 3e4151215e 7f09192946 4649494931 01017f0101 3f4040403f 1f2040201f 3f4038403f"  # P to W
    "6314081463 0708700807 6151494543 007f414100 0204081020 0041417f00 0402010204 4040404040"  # X to _
    "0001020400 2054545478 7f44444438 3844444428 384444447f 3854545418 00087e0902 18a4a4a47c"  # ` to g
    "7f08040478 00447d4000 0080847d00 007f102844 00417f4000 7c04180478 7c08040478 3844444438"  # h to o
    "fc24242418 18242424fc 7c08040408 4854545424 00043e4420 3c4040207c 1c2040201c 3c4030403c"  # p to w
    "4428102844 1ca0a0a07c 4464544c44 0008364100 00007f0000 0041360800 0804081008 7f4141417f"  # x to ~, box
)
_ASCII = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "...", "ß": "ss"})


def plain(text: str) -> str:
    """Bring text into what the font can draw: ASCII, and DEL (the box) for all else."""
    folded = unicodedata.normalize("NFKD", " ".join(text.translate(_ASCII).split()))
    return "".join(c if " " <= c <= "~" else "\x7f" for c in folded if not unicodedata.combining(c))


@lru_cache(maxsize=128)
def _dots(char: str) -> tuple[list[tuple[int, int]], int]:
    """Dots of a character moved to the left edge, and its width in dots."""
    start = (ord(char) - 32) * 5
    columns = _COLUMNS[start : start + 5]
    # digits keep their full width, so that a counter does not jump about
    used = list(range(5)) if char.isdigit() else [x for x in range(5) if columns[x]]
    if not used:
        return [], 3
    return [(x - used[0], y) for x in used for y in range(ROWS) if columns[x] >> y & 1], used[-1] - used[0] + 1


def _strokes(dots: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Join neighbouring dots; (x, y, dx, dy), a lone dot as a stroke of no length."""
    lit, strokes = set(dots), []
    for x, y in dots:
        found = [(1, 0)] if (x + 1, y) in lit else []
        found += [(0, 1)] if (x, y + 1) in lit else []
        for dx in (1, -1):
            beside, below = (x + dx, y) in lit, (x, y + 1) in lit
            if (x + dx, y + 1) in lit and beside == below:  # not round a corner, but through a square of dots
                found.append((dx, 1))
        strokes += [(x, y, dx, dy) for dx, dy in found or [(0, 0)]]
    return strokes


@lru_cache(maxsize=64)
def _stamp(pitch: int, pen: float, dx: int, dy: int) -> tuple[int, list[bytes]]:
    """Draw one stroke from dot 0,0 to dx,dy: (left edge, rows of coverage 0..255), one dot of margin around."""
    left, length = min(dx, 0) * pitch, dx * dx + dy * dy
    rows = []
    for py in range((1 + dy) * pitch):
        row = bytearray()
        for px in range((1 + abs(dx)) * pitch):
            x, y = (px + left + 0.5) / pitch - 0.5, (py + 0.5) / pitch - 0.5
            along = min(1.0, max(0.0, (x * dx + y * dy) / length)) if length else 0.0
            distance = math.hypot(x - along * dx, y - along * dy) * pitch
            row.append(int(255 * min(1.0, max(0.0, pen * pitch / 2 - distance + 0.5))))
        rows.append(bytes(row))
    return left, rows


@lru_cache(maxsize=1024)
def glyph(char: str, pitch: int, pen: float = 0.95) -> tuple[int, list[bytes]]:
    """Rasterise one character: (advance in pixels, ROWS * pitch rows of coverage 0..255).

    `pitch` is the distance of two dots in pixels, `pen` the stroke width in dots (below 1 stays inside the cells).
    """
    dots, width = _dots(char)
    rows = [bytearray((width + 1) * pitch) for _ in range(ROWS * pitch)]
    for x, y, dx, dy in _strokes(dots):
        left, stamp = _stamp(pitch, pen, dx, dy)
        start = x * pitch + left
        for offset, stroke in enumerate(stamp):
            row = rows[y * pitch + offset]
            row[start : start + len(stroke)] = bytes(map(max, row[start : start + len(stroke)], stroke))
    return (width + 1) * pitch, [bytes(row) for row in rows]


def measure(text: str, pitch: int) -> int:
    """Width of a line in pixels."""
    return sum(_dots(char)[1] + 1 for char in text) * pitch


def draw_line(text: str, pitch: int) -> list[bytes]:
    """Rasterise one line of plain text into ROWS * pitch rows of coverage 0..255."""
    glyphs = [glyph(char, pitch)[1] for char in text]
    return [b"".join(rows) for rows in zip(*glyphs, strict=True)] if glyphs else []


def wrap(text: str, pitch: int, width: int) -> list[str] | None:
    """Break text into lines of at most `width` pixels; None when a word is wider than that."""
    words = [
        word[start : start + _LONGEST_WORD] for word in text.split() for start in range(0, len(word), _LONGEST_WORD)
    ]
    lines: list[str] = []
    line = ""
    for word in words:
        if measure(word, pitch) > width:
            return None
        longer = f"{line} {word}" if line else word
        if measure(longer, pitch) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line] if line else lines
