"""Makes tests/data/pipelines_tiled.safetensors: what diffusers makes of tests/data/tiny and of
autoencoders of tests/data/models after vae.enable_tiling(), in float32.

"NAME/step.NN" are the latents after the last call of the UNet, "NAME/image" the picture in 0..1, of
"corner" its last pixels only. The settings and the decoded latents stand in test_tiling.c too.
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
STEPS = 4

# name: autoencoder (None: tiny's), width, height
RUNS = {"inpaint": (None, 104, 72), "inpaint_tiny": ("vae_tiny", 464, 16)}

# name: autoencoder, width and height of the latents, pixels of the picture that are kept
DECODED = {
    "odd": ("vae_attending", 21, 13, None),
    "narrow": ("vae_attending", 3, 17, None),
    "corner": ("vae_tiny", 60, 58, 40),
}


def open_vae(name):
    cls = diffusers.AutoencoderTiny if name == "vae_tiny" else diffusers.AutoencoderKL
    return cls.from_pretrained(common.MODELS / name, torch_dtype=torch.float32)


def run(tensors, name, vae, width, height):
    parts = {"vae": open_vae(vae)} if vae else {}
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(
        DATA / "tiny", torch_dtype=torch.float32, **parts)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.enable_tiling()
    latents = []

    def keep(pipe, step, t, values):
        latents.append(values["latents"].clone())
        return values

    image = pipe(prompt="a red apple", image=Image.open(IMAGE), mask_image=Image.open(MASK),
                 width=width, height=height, num_inference_steps=STEPS, guidance_scale=2.5,
                 generator=torch.Generator("cpu").manual_seed(7), output_type="pt",
                 callback_on_step_end=keep).images
    tensors[f"{name}/step.{STEPS:02d}"] = latents[-1].contiguous()
    tensors[f"{name}/image"] = image.contiguous()


def decode(tensors, name, vae, width, height, kept):
    vae = open_vae(vae)
    vae.enable_tiling()
    n = 4 * height * width
    latents = ((torch.arange(n) * 37 % 101).float() / 50 - 1).reshape(1, 4, height, width)
    image = vae.decode(latents / vae.config.scaling_factor).sample
    image = (image / 2 + 0.5).clamp(0, 1)
    if kept:
        image = image[:, :, -kept:, -kept:]
    tensors[f"{name}/image"] = image.contiguous()


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    tensors = {}
    for name, settings in RUNS.items():
        run(tensors, name, *settings)
    for name, settings in DECODED.items():
        decode(tensors, name, *settings)
    path = DATA / "pipelines_tiled.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
