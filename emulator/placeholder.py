"""Make `triggers/placeholder.mp4`, what a job shows while its file cannot be had: `python -m emulator.placeholder`."""

from __future__ import annotations

from pathlib import Path

from emulator.sora.media import encode_video
from emulator.sora.picture import Card

TARGET = Path(__file__).parents[1] / "triggers" / "placeholder.mp4"

CARD = Card(
    prompt="Your video is on its way. It appears here by itself.",
    label="REELKEEPER",
    seed="placeholder",
    width=480,
    height=270,
    seconds=3,
    fps=4,
)

if __name__ == "__main__":
    encode_video(CARD, "low", TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
