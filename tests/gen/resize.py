#!/usr/bin/env python3
"""Makes tests/data/images/resize.safetensors: what PIL and diffusers' VaeImageProcessor make of
pictures in other sizes.

"rgb", "rgba", "gray" are pictures [H, W, C]; "KIND/FILTER/..." what PIL's resize makes of one;
"processor/NAME" the floats [C, H, W] of VaeImageProcessor, of which "rgb" is the picture and "mask"
the mask; "region/PADDING/WIDTHxHEIGHT" [4] the crop region of the mask; "overlay/out" [H, W, 3] is
"rgb" with "overlay/picture" laid over "overlay/region" where the mask selects it; "depth" [h, w] is a
depth map and "depth/WxH" what StableDiffusionDepth2ImgPipeline takes for it.
"""
import os

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from safetensors.numpy import save_file

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "images")
FILTERS = ("nearest", "box", "bilinear", "bicubic", "lanczos")
SIZES = {
    "rgb": ((8, 5), (29, 17), (23, 20), (50, 7), (3, 24), (1, 1)),
    "rgba": ((8, 5), (30, 7)),
    "gray": ((8, 5), (30, 7)),
}


def resized(pictures):
    for kind, pixels in pictures.items():
        for name in FILTERS:
            for size in SIZES[kind]:
                image = Image.fromarray(pixels.squeeze())
                out = image.resize(size, Image.Resampling[name.upper()])
                yield f"{kind}/{name}/{size[0]}x{size[1]}", np.array(out)


def processed(image, mask):
    images = VaeImageProcessor(vae_scale_factor=8)
    masks = VaeImageProcessor(
        vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )
    yield "processor/image", images.preprocess(image)
    yield "processor/image_sized", images.preprocess(image, height=37, width=20)
    yield "processor/mask", masks.preprocess(mask)
    yield "processor/mask_sized", masks.preprocess(mask, height=32, width=24)
    for width, height, padding in ((32, 16, 1), (16, 24, 0)):
        crop = masks.get_crop_region(mask, width, height, padding)
        sides = {"height": height, "width": width, "crops_coords": crop, "resize_mode": "fill"}
        yield f"processor/image_crop_{padding}", images.preprocess(image, **sides)
        yield f"processor/mask_crop_{padding}", masks.preprocess(mask, **sides)
    for width, height in ((40, 8), (8, 40)):
        sides = {"height": height, "width": width, "resize_mode": "fill"}
        crop = {"crops_coords": (0, 0, *image.size)}
        yield f"processor/image_fill_{width}", images.preprocess(image, **sides, **crop)


def regions(mask):
    processor = VaeImageProcessor()
    for padding in (0, 2, 100):
        for width, height in ((64, 64), (64, 32), (24, 64)):
            region = processor.get_crop_region(mask, width, height, padding)
            yield f"region/{padding}/{width}x{height}", np.array(region, dtype=np.int32)


def depth_maps(depth):
    """As prepare_depth_map does it."""
    for width, height in ((9, 12), (5, 3), (12, 12)):
        out = torch.nn.functional.interpolate(
            torch.from_numpy(depth)[None, None], (height, width), mode="bicubic", align_corners=False
        )
        low, high = out.amin(), out.amax()
        yield f"depth/{width}x{height}", (2 * (out - low) / (high - low) - 1)[0, 0].numpy()


def main():
    rng = np.random.default_rng(11)
    rgba = rng.integers(0, 256, (17, 23, 4), dtype=np.uint8)
    rgba[:4, :9, 3] = 0
    rgba[9:, 4:, 3] = 255
    pictures = {"rgb": rgba[..., :3], "rgba": rgba, "gray": rgba[..., :1]}
    out = {name: np.ascontiguousarray(pixels) for name, pixels in pictures.items()}
    out.update(resized(pictures))

    mask = np.zeros((17, 23, 3), np.uint8)
    mask[5:12, 7:19] = rng.integers(1, 256, (7, 12, 3), dtype=np.uint8)
    out["mask"] = mask
    image, mask = Image.fromarray(out["rgb"]), Image.fromarray(mask)
    for name, floats in processed(image, mask):
        out[name] = np.ascontiguousarray(floats[0].numpy())
    out.update(regions(mask))
    crop = VaeImageProcessor.get_crop_region(mask, 32, 16, 1)
    picture = Image.fromarray(rng.integers(0, 256, (16, 32, 3), dtype=np.uint8))
    out["overlay/region"] = np.array(crop, dtype=np.int32)
    out["overlay/picture"] = np.array(picture)
    out["overlay/out"] = np.array(VaeImageProcessor().apply_overlay(mask, image, picture, crop))
    out["depth"] = (rng.integers(0, 4096, (7, 10)) / 16).astype(np.float32)
    out.update(depth_maps(out["depth"]))
    save_file(out, os.path.join(FILE, "resize.safetensors"))


if __name__ == "__main__":
    main()
