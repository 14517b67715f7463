"""Makes tests/data/pipelines_mask_crop.safetensors: what diffusers' inpainting pipelines make of
tests/data/tiny and tiny_xl with padding_mask_crop, in float32.

"image" [H, W, 3] and "mask" [H, W] are the pictures, "NAME/step.NN" the latents after that call of the
UNet, "NAME/latents" those that the run was given, "NAME/pictures" [B, H, W, 3] what comes out. The
settings stand in test_mask_crop.c.
"""

import pathlib
import sys

import diffusers
import numpy
import PIL.Image
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "models"))
from common import DATA, MODELS  # noqa: E402

STEPS = 20
EULER = diffusers.EulerDiscreteScheduler

# name: pipeline, scheduler, the call's settings
CASES = {
    "part": ("sd", diffusers.DDIMScheduler, dict(
        padding_mask_crop=5, strength=0.7, width=56, height=40, num_images_per_prompt=2)),
    "given": ("sd", EULER, dict(padding_mask_crop=0, strength=1.0, latents=(1, 4, 8, 8))),
    "nine": ("nine", EULER, dict(padding_mask_crop=300, width=40, height=72)),
    "xl": ("xl", EULER, dict(padding_mask_crop=2, strength=0.6)),
}


def pictures(width, height):
    """A smooth picture with some noise, and a mask with a soft edge near a corner."""
    random = numpy.random.default_rng(8)
    y, x = numpy.mgrid[0:height, 0:width]
    image = numpy.stack([numpy.sin(x / 9 + c) + numpy.cos(y / (6 + c)) for c in range(3)], -1)
    image = image * 50 + 120 + random.integers(-6, 7, (height, width, 3))
    far = numpy.hypot(x - width * 0.7, (y - height * 0.3) * 1.6)
    mask = (10 - far) * 40 + 128 * (far < 10)
    return [PIL.Image.fromarray(part.clip(0, 255).astype(numpy.uint8)) for part in (image, mask)]


def open_pipes():
    base = diffusers.StableDiffusionPipeline.from_pretrained(
        DATA / "tiny", torch_dtype=torch.float32).components
    nine = diffusers.UNet2DConditionModel.from_pretrained(
        MODELS / "unet_inpaint", torch_dtype=torch.float32)
    xl = diffusers.StableDiffusionXLPipeline.from_pretrained(
        DATA / "tiny_xl", torch_dtype=torch.float32, add_watermarker=False).components
    inpaint = diffusers.StableDiffusionInpaintPipeline
    return {
        "sd": inpaint(**base, requires_safety_checker=False),
        "nine": inpaint(**(base | {"unet": nine}), requires_safety_checker=False),
        "xl": diffusers.StableDiffusionXLInpaintPipeline(**xl, add_watermarker=False),
    }


def run(tensors, pipe, name, settings, image, mask):
    steps = []
    if "latents" in settings:
        generator = torch.Generator("cpu").manual_seed(99)
        given = torch.round(torch.randn(settings["latents"], generator=generator) * 8) / 8
        tensors[f"{name}/latents"] = settings["latents"] = given

    def keep(pipe, step, t, values):
        steps.append(values["latents"].clone(memory_format=torch.contiguous_format))
        return values

    out = pipe("a red apple", image=image, mask_image=mask, num_inference_steps=STEPS,
               guidance_scale=2.5, generator=torch.Generator("cpu").manual_seed(7),
               callback_on_step_end=keep, **settings).images
    for i in sorted({1, len(steps) // 2, len(steps)}):
        tensors[f"{name}/step.{i:02d}"] = steps[i - 1]
    tensors[f"{name}/pictures"] = torch.from_numpy(numpy.stack([numpy.array(i) for i in out]))


def main():
    torch.set_num_threads(1)
    image, mask = pictures(61, 47)
    tensors = {"image": torch.from_numpy(numpy.array(image)),
               "mask": torch.from_numpy(numpy.array(mask))}
    pipes = open_pipes()
    for name, (kind, scheduler, settings) in CASES.items():
        pipe = pipes[kind]
        pipe.set_progress_bar_config(disable=True)
        keys = {"clip_sample": False} if scheduler is diffusers.DDIMScheduler else {}
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **keys)
        run(tensors, pipe, name, dict(settings), image, mask)
    path = DATA / "pipelines_mask_crop.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
