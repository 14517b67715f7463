#!/usr/bin/env python3
"""Makes tests/data/images: PNG files of every kind, and what PIL reads in them.

The files are written here, not by PIL, which cannot write most of the kinds. images.safetensors has
NAME.rgb [H, W, 3] and NAME.l [H, W] as PIL's convert("RGB") and convert("L") give them, after
ImageOps.exif_transpose as in diffusers' load_image.
"""
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

WIDTH, HEIGHT = 13, 9
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
ADAM7 = [  # x, y, their steps
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
]
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "images")


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def header(width, height, depth=8, color=RGB, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def pack_rows(pixels, depth):
    """Filter byte and packed samples of each row; pixels is [H, W, C]."""
    rows = b""
    for row in pixels.reshape(pixels.shape[0], -1):
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            packed = np.packbits(bits.astype(np.uint8)).tobytes()
        rows += b"\0" + packed
    return rows


def picture(rng, depth, color, interlace=0, extra=b"", limit=None):
    top = limit or 2**depth
    pixels = rng.integers(0, top, (HEIGHT, WIDTH, CHANNELS[color]))
    if depth == 16:
        pixels[: HEIGHT // 2] //= 200  # both sides of 255
    if interlace:
        passes = [pixels[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        data = b"".join(pack_rows(p, depth) for p in passes if p.size)
    else:
        data = pack_rows(pixels, depth)
    start = header(WIDTH, HEIGHT, depth, color, interlace)
    return png(start, extra, chunk(b"IDAT", zlib.compress(data, 9)))


def exif_data(order, orientation):
    """A TIFF header and a directory of two entries: ImageWidth and Orientation."""
    start = {"<": b"II", ">": b"MM"}[order]
    width = struct.pack(order + "HHII", 0x100, 4, 1, WIDTH)
    turned = struct.pack(order + "HHIHH", 0x112, 3, 1, orientation, 0)
    return start + struct.pack(order + "HIH", 42, 8, 2) + width + turned + bytes(4)


def pictures():
    rng = np.random.default_rng(7)

    def palette(n):
        return chunk(b"PLTE", rng.integers(0, 256, 3 * n).astype(np.uint8).tobytes())

    for interlace, suffix in ((0, ""), (1, "_adam7")):
        for depth in (1, 2, 4, 8, 16):
            yield f"gray{depth}{suffix}", picture(rng, depth, GRAY, interlace)
        for depth in (1, 2, 4, 8):
            colors = palette(2**depth)
            yield f"palette{depth}{suffix}", picture(rng, depth, PALETTE, interlace, colors)
        for depth in (8, 16):
            yield f"rgb{depth}{suffix}", picture(rng, depth, RGB, interlace)
            yield f"rgba{depth}{suffix}", picture(rng, depth, RGBA, interlace)
            yield f"gray_alpha{depth}{suffix}", picture(rng, depth, GRAY_ALPHA, interlace)
    yield "gray1_trns", picture(rng, 1, GRAY, 0, chunk(b"tRNS", b"\0\1"))
    yield "gray8_trns", picture(rng, 8, GRAY, 0, chunk(b"tRNS", b"\0\7"), 16)
    yield "gray16_trns", picture(rng, 16, GRAY, 0, chunk(b"tRNS", b"\0\7"))
    yield "rgb8_trns", picture(rng, 8, RGB, 0, chunk(b"tRNS", b"\0\1\0\1\0\1"), 2)
    yield "rgb16_trns", picture(rng, 16, RGB, 0, chunk(b"tRNS", b"\0\1\0\1\0\1"))
    colors = palette(16) + chunk(b"tRNS", bytes(range(12)))
    yield "palette8_trns", picture(rng, 8, PALETTE, 0, colors, 16)
    yield "palette4_short", picture(rng, 4, PALETTE, 0, palette(5))  # indices past the palette
    for orientation in range(1, 9):
        exif = chunk(b"eXIf", exif_data("<>"[orientation % 2], orientation))
        yield f"exif{orientation}", picture(rng, 4, PALETTE, 0, palette(16) + exif)


def texts():
    data = zlib.compress(pack_rows(np.zeros((2, 2, 3), int), 8))
    return png(
        header(2, 2),
        chunk(b"tEXt", b"plain\0two\nlines"),
        chunk(b"tEXt", "latin\0caf\xe9".encode("latin-1")),
        chunk(b"zTXt", b"packed\0\0" + zlib.compress(b"steps " * 100)),
        chunk(b"iTXt", b"unicode\0\0\0\0\0" + "りんご".encode()),
        chunk(b"iTXt", b"unicode packed\0\1\0en\0\0" + zlib.compress("🍎".encode() * 50)),
        chunk(b"IDAT", data),
        chunk(b"tEXt", b"after\0the pixels"),
        chunk(b"tEXt", b"empty\0"),
    )


def bad():
    data = chunk(b"IDAT", zlib.compress(pack_rows(np.zeros((2, 2, 3), int), 8)))
    good = png(header(2, 2), data)
    yield "empty", b""
    yield "not_png", b"GIF89a, or so it says"
    yield "signature_only", good[:8]
    yield "no_pixels", png(header(2, 2))
    yield "zero_width", png(header(0, 2), data)
    yield "side_70000", png(header(70000, 1), data)
    yield "huge", png(header(32768, 32768), data)
    yield "wide_short", png(header(8000, 8000), data)
    yield "header_crc", good[:20] + bytes([good[20] ^ 1]) + good[21:]
    yield "depth_3", png(header(2, 2, 3), data)
    yield "no_palette", png(header(2, 2, 8, PALETTE), data)
    yield "short_pixels", png(header(2, 2), chunk(b"IDAT", zlib.compress(b"\0" * 8)))
    yield "not_deflate", png(header(2, 2), chunk(b"IDAT", b"\x78\x9c" + b"\xff" * 20))
    yield "long_text", good[:33] + b"\x7f\xff\xff\xf0tEXtkey\0text" + good[33:]
    yield "chunk_length", good[:33] + b"\x7f\xff\xff\xff" + good[37:]


def text_bombs():
    data = chunk(b"IDAT", zlib.compress(pack_rows(np.zeros((2, 2, 3), int), 8)))
    bomb = zlib.compress(b"A" * (16 << 20), 9)
    yield "text_bomb", png(header(2, 2), chunk(b"zTXt", b"bomb\0\0" + bomb), data)
    small = chunk(b"zTXt", b"bomb\0\0" + zlib.compress(b"A" * 1000, 9))
    yield "text_many", png(header(2, 2), small * 500, data)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    expected = {}

    def write(name, content):
        with open(os.path.join(FOLDER, name + ".png"), "wb") as f:
            f.write(content)

    for name, content in pictures():
        write(name, content)
        image = ImageOps.exif_transpose(Image.open(os.path.join(FOLDER, name + ".png")))
        expected[name + ".rgb"] = np.asarray(image.convert("RGB"))
        expected[name + ".l"] = np.asarray(image.convert("L"))
    write("texts", texts())
    for name, content in [*bad(), *text_bombs()]:
        write("bad_" + name, content)
    save_file(expected, os.path.join(FOLDER, "images.safetensors"))


if __name__ == "__main__":
    main()
