#!/usr/bin/env python3
"""Draws docs/images/emoji.png, the picture at the top of README.md, with a built dfx.

    tests/gen/readme_picture.py build/dfx

Each picture is `dfx generate NAME --seed 7` on the native CPU, each pixel enlarged four times.
"""
import os
import subprocess
import sys
import tempfile

from PIL import Image

NAMES = [
    "red apple", "panda", "red heart", "smiling face with sunglasses",
    "soccer ball", "automobile", "umbrella", "jack-o-lantern",
]
COLUMNS, SIDE, ENLARGED, GAP = 4, 64, 4, 16
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODEL = os.path.join(TOP, "share", "models", "emoji")
OUTPUT = os.path.join(TOP, "docs", "images", "emoji.png")


def draw(dfx, name, path):
    subprocess.run([dfx, "generate", name, "--seed", "7", "--device", "cpu", "--dtype", "f32",
                    "--model", MODEL, "--output", path, "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)
    return Image.open(path).convert("RGB")


def sheet(pictures):
    side = SIDE * ENLARGED
    rows = -(-len(pictures) // COLUMNS)
    result = Image.new("RGB", (COLUMNS * (side + GAP) - GAP, rows * (side + GAP) - GAP), "white")
    for i, picture in enumerate(pictures):
        place = (i % COLUMNS * (side + GAP), i // COLUMNS * (side + GAP))
        result.paste(picture.resize((side, side), Image.Resampling.NEAREST), place)
    return result


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DFX")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.png")
        pictures = [draw(sys.argv[1], name, path) for name in NAMES]
    os.makedirs(os.path.dirname(OUTPUT), exist_ok=True)
    sheet(pictures).save(OUTPUT, optimize=True)


if __name__ == "__main__":
    main()
