"""Make `triggers/placeholder.mp4` and `.png`, what a job shows while its file cannot be had.

Run it with `python -m emulator.placeholder`.
"""

from __future__ import annotations

from pathlib import Path

from emulator.sora.media import encode_video
from emulator.sora.picture import Card
from emulator.sora.stills import encode_still

FOLDER = Path(__file__).parents[1] / "triggers"


def card(noun: str, width: int, height: int) -> Card:
    prompt = f"Your {noun} is on its way. It appears here by itself."
    return Card(prompt, label="REELKEEPER", seed="placeholder", width=width, height=height, seconds=3, fps=4)


if __name__ == "__main__":
    video, image = FOLDER / "placeholder.mp4", FOLDER / "placeholder.png"
    encode_video(card("video", 480, 270), "low", video)
    encode_still(card("image", 480, 480), image, None)
    for target in (video, image):
        print(f"{target}: {target.stat().st_size} bytes")
