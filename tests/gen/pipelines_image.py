"""Makes tests/data/pipelines_image.safetensors, tests/data/models/unet_inpaint and unet_lcm: what
diffusers' image to image and inpainting pipelines, and its runs with a guidance embedding, make of
tests/data/tiny and of two pictures of tests/data/images, in float32.

"NAME/step.NN" are the latents after that call of the UNet, "NAME/latents" those that the run was
given, "NAME/image" the picture in 0..1. The settings stand in test_image_to_image.c too.
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
import unets

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

DATA = common.DATA
IMAGE, MASK = DATA / "images" / "scene.png", DATA / "images" / "scene_mask.png"
STEPS = 20

TEXT = diffusers.StableDiffusionPipeline
LCM = diffusers.LatentConsistencyModelPipeline
IMG2IMG = diffusers.StableDiffusionImg2ImgPipeline
INPAINT = diffusers.StableDiffusionInpaintPipeline

PARTS = {"unet": diffusers.UNet2DConditionModel, "vae": diffusers.AsymmetricAutoencoderKL}

# name: pipeline, UNet or VAE (None: tiny's), scheduler, keys that replace its config's, the call's settings
CASES = {
    "pndm": (IMG2IMG, None, "PNDMScheduler", {}, dict(strength=0.6)),
    "ddim": (IMG2IMG, None, "DDIMScheduler", {}, dict(strength=0.31, num_images_per_prompt=2)),
    "euler": (IMG2IMG, None, "EulerDiscreteScheduler", {}, dict(strength=1.0)),
    "heun": (IMG2IMG, None, "HeunDiscreteScheduler", {}, dict(strength=0.5)),
    "euler_a": (IMG2IMG, None, "EulerAncestralDiscreteScheduler", {}, dict(strength=0.45)),
    "dpm": (IMG2IMG, None, "DPMSolverMultistepScheduler", {}, dict(strength=0.7)),
    "unipc": (IMG2IMG, None, "UniPCMultistepScheduler", {}, dict(strength=0.75)),
    "inpaint": (INPAINT, None, "DDIMScheduler", {}, dict(height=72, width=104)),
    "inpaint_part": (INPAINT, None, "EulerDiscreteScheduler", {}, dict(
        strength=0.6, num_images_per_prompt=2)),
    "inpaint_given": (INPAINT, None, "PNDMScheduler", {}, dict(strength=1.0)),
    "inpaint_kdpm2": (INPAINT, None, "KDPM2DiscreteScheduler", {}, dict(strength=0.5)),
    "nine": (INPAINT, "unet_inpaint", "DDIMScheduler", {}, dict(height=72, width=104)),
    "nine_part": (INPAINT, "unet_inpaint", "EulerAncestralDiscreteScheduler", {}, dict(
        strength=0.7, num_images_per_prompt=2)),
    "asymmetric": (INPAINT, "vae_asym", "DDIMScheduler", {}, dict(
        strength=0.6, height=72, width=104)),
    "asymmetric_image": (IMG2IMG, "vae_asym", "EulerDiscreteScheduler", {}, dict(strength=0.4)),
    "rescaled": (TEXT, None, "DDIMScheduler", {}, dict(
        guidance_scale=7.5, guidance_rescale=0.7, num_images_per_prompt=2)),
    "skipped": (TEXT, None, "DDIMScheduler", {}, dict(clip_skip=1)),
    "lists": (TEXT, None, "EulerDiscreteScheduler", {}, dict(
        prompt=["a red apple", "a cat"], negative_prompt=["blue", ""], num_images_per_prompt=2)),
    "turbo": (TEXT, None, "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, dict(
        num_inference_steps=1, guidance_scale=0.0)),
    "turbo_image": (IMG2IMG, None, "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, dict(
        num_inference_steps=2, strength=0.5, guidance_scale=0.0)),
    "lcm": (LCM, "unet_lcm", "LCMScheduler", {}, dict(
        num_inference_steps=4, guidance_scale=8.5, num_images_per_prompt=2)),
    "lcm_image": (IMG2IMG, "unet_lcm", "LCMScheduler", {}, dict(
        num_inference_steps=8, guidance_scale=3.0, strength=0.5)),
}


def make_pictures():
    """A picture of 83 x 67 that compresses, and a mask of another size."""
    picture = Image.new("RGB", (83, 67))
    picture.putdata([((x * 3) % 256, (y * 4) % 256, 255 if (x // 16 + y // 16) % 2 else 40)
                     for y in range(67) for x in range(83)])
    picture.save(IMAGE, optimize=True)
    mask = Image.new("L", (64, 64))
    mask.putdata([255 if 20 <= x < 50 and 12 <= y < 44 else x for y in range(64) for x in range(64)])
    mask.save(MASK, optimize=True)


def make_unet(name, seed, **more):
    net = common.fill(unets.unet(block_out_channels=(8, 16), norm_num_groups=4,
                                 cross_attention_dim=32, **more), seed)
    net.half().save_pretrained(common.MODELS / name)


def run(tensors, pipe, name, settings):
    latents = []
    inputs = {}
    if not isinstance(pipe, (TEXT, LCM)):
        inputs["image"] = Image.open(IMAGE)
    if isinstance(pipe, INPAINT):
        inputs["mask_image"] = Image.open(MASK)
    if name == "inpaint_given":
        generator = torch.Generator("cpu").manual_seed(99)
        given = torch.round(torch.randn((1, 4, 8, 8), generator=generator) * 8) / 8
        tensors[f"{name}/latents"] = inputs["latents"] = given

    def keep(pipe, step, t, values):
        latents.append(values["latents"].clone())
        return values

    settings = {"prompt": "a red apple", "num_inference_steps": STEPS, "guidance_scale": 2.5} | settings
    image = pipe(generator=torch.Generator("cpu").manual_seed(7), output_type="pt",
                 callback_on_step_end=keep, **settings, **inputs).images
    for i in {1, min(2, len(latents)), max(1, len(latents) // 2), len(latents)}:
        tensors[f"{name}/step.{i:02d}"] = latents[i - 1].contiguous()
    tensors[f"{name}/image"] = torch.round(image * 255).to(torch.uint8)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    make_pictures()
    make_unet("unet_inpaint", 50, in_channels=9)
    make_unet("unet_lcm", 51, time_cond_proj_dim=12)
    tensors = {}
    base = TEXT.from_pretrained(DATA / "tiny", torch_dtype=torch.float32)
    if not hasattr(base.text_encoder, "text_model"):
        # clip_skip reads transformers 4's name; a module cannot hold itself as one
        object.__setattr__(base.text_encoder, "text_model", base.text_encoder)
    config = dict(base.scheduler.config)
    for name, (cls, net, scheduler, keys, settings) in CASES.items():
        parts = dict(base.components)
        if net:
            part = "vae" if net.startswith("vae") else "unet"
            parts[part] = PARTS[part].from_pretrained(common.MODELS / net,
                                                      torch_dtype=torch.float32)
        parts["scheduler"] = getattr(diffusers, scheduler).from_config(config, **keys)
        pipe = cls(**parts, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        run(tensors, pipe, name, settings)
    save_file(tensors, DATA / "pipelines_image.safetensors")
    for path in [DATA / "pipelines_image.safetensors", IMAGE, MASK, *common.MODELS.rglob("*.*")]:
        path.chmod(0o644)


if __name__ == "__main__":
    main()
