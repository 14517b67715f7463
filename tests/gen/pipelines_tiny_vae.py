"""Makes tests/data/pipelines_tiny_vae.safetensors: what diffusers' pipelines make of
tests/data/tiny and tests/data/tiny_xl with the AutoencoderTiny of tests/data/models/vae_tiny as
their vae, in float32.

"NAME/step.NN" are the latents after that call of the UNet, "NAME/image" the picture in 0..1. The
settings stand in test_tiny_vae.c too.
"""

import logging
import pathlib
import sys
import warnings

import diffusers
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "models"))
import common

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

DATA = common.DATA
IMAGE, MASK = DATA / "images" / "scene.png", DATA / "images" / "scene_mask.png"

# name: folder, pipeline, scheduler, the call's settings
CASES = {
    "text": ("tiny", "StableDiffusionPipeline", "DPMSolverMultistepScheduler", dict(
        height=40, width=56, num_images_per_prompt=2)),
    "image": ("tiny", "StableDiffusionImg2ImgPipeline", "EulerDiscreteScheduler", dict(
        strength=0.6)),
    "inpaint": ("tiny", "StableDiffusionInpaintPipeline", "EulerAncestralDiscreteScheduler", dict(
        height=56, width=40, strength=0.6)),
    "xl_image": ("tiny_xl", "StableDiffusionXLImg2ImgPipeline", "EulerDiscreteScheduler", dict(
        strength=0.6)),
}


def run(tensors, pipe, name, settings):
    latents, inputs = [], {}
    if "StableDiffusionPipeline" != type(pipe).__name__:
        inputs["image"] = Image.open(IMAGE)
    if name == "inpaint":
        inputs["mask_image"] = Image.open(MASK)

    def keep(pipe, step, t, values):
        latents.append(values["latents"].clone())
        return values

    image = pipe(prompt="a red apple", num_inference_steps=20, guidance_scale=2.5,
                 generator=torch.Generator("cpu").manual_seed(7), output_type="pt",
                 callback_on_step_end=keep, **settings, **inputs).images
    for i in {1, 2, len(latents)}:
        tensors[f"{name}/step.{i:02d}"] = latents[i - 1].contiguous()
    tensors[f"{name}/image"] = torch.round(image * 255).to(torch.uint8).contiguous()


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    tensors = {}
    vae = diffusers.AutoencoderTiny.from_pretrained(common.MODELS / "vae_tiny",
                                                    torch_dtype=torch.float32)
    for name, (folder, cls, scheduler, settings) in CASES.items():
        pipe = getattr(diffusers, cls).from_pretrained(DATA / folder, torch_dtype=torch.float32,
                                                       vae=vae)
        pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        run(tensors, pipe, name, settings)
    path = DATA / "pipelines_tiny_vae.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
