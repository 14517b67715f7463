"""Makes tests/data/pipelines.safetensors and tests/data/emoji: what diffusers' StableDiffusionPipeline
makes of tests/data/tiny and of the model that ships, in float32.

"NAME/embeds" is [negative; positive], "NAME/step.NN" the latents after that call of the UNet,
"NAME/latents" those that the run was given, "NAME/image" the picture in 0..1. Settings stand in
test_pipeline.c; a long text is repeated there too.
"""

import logging
import pathlib
import warnings

import diffusers
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = TOP / "tests" / "data"
EMOJI = TOP / "share" / "models" / "emoji"
STEPS = 20

# name: scheduler, keys that replace the config's, and the call's settings
CASES = {
    "pndm": ("PNDMScheduler", {}, dict(
        guidance_scale=2.5, negative_prompt="a cat")),
    "ddim": ("DDIMScheduler", {"clip_sample": False}, dict(
        guidance_scale=1.0, num_images_per_prompt=2, height=72, width=104)),
    "euler": ("EulerDiscreteScheduler", {}, dict(
        guidance_scale=2.5, num_images_per_prompt=2, height=40, width=56)),
    "dpm": ("DPMSolverMultistepScheduler", {}, dict(
        guidance_scale=2.5, height=72, width=104, negative_prompt="blue " * 40)),
    "sde": ("DPMSolverSDEScheduler", {}, dict(guidance_scale=1.0)),
}
GLOBAL = ("sde",)  # this run draws all from torch's own generator, also its noise's seed
GIVEN = ("pndm", "dpm")  # these runs are given their latents
PROMPT, LONG_PROMPT = "a red apple", "red apple " * 30
PICTURES = {"red_apple": "red apple", "cat_face": "cat face", "flag_japan": "flag: Japan",
            "grinning_face": "grinning face"}


def run(tensors, pipe, name, settings):
    latents, embeds = [], []
    settings = dict(settings, prompt=LONG_PROMPT if name == "euler" else PROMPT)
    if name in GIVEN:
        h, w = settings.get("height", 64) // 8, settings.get("width", 64) // 8
        generator = torch.Generator("cpu").manual_seed(99)
        given = torch.round(torch.randn((1, 4, h, w), generator=generator) * 8) / 8
        tensors[f"{name}/latents"] = given
        settings["latents"] = given

    def keep(pipe, step, t, values):
        latents.append(values["latents"].clone())
        embeds.append(values["prompt_embeds"])
        return values

    torch.manual_seed(7)
    generator = None if name in GLOBAL else torch.Generator("cpu").manual_seed(7)
    image = pipe(num_inference_steps=STEPS, generator=generator,
                 output_type="pt", callback_on_step_end=keep,
                 callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"], **settings).images
    copies = settings.get("num_images_per_prompt", 1)
    tensors[f"{name}/embeds"] = embeds[0][::copies].contiguous()
    for i in (1, 2, 7, len(latents) - 1, len(latents)):
        tensors[f"{name}/step.{i:02d}"] = latents[i - 1]
    tensors[f"{name}/image"] = torch.round(image * 255).to(torch.uint8)


def main():
    torch.set_num_threads(1)
    tensors = {}
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(DATA / "tiny", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    config = dict(pipe.scheduler.config)
    for name, (cls, keys, settings) in CASES.items():
        pipe.scheduler = getattr(diffusers, cls).from_config(config, **keys)
        run(tensors, pipe, name, settings)
    save_file(tensors, DATA / "pipelines.safetensors")
    (DATA / "pipelines.safetensors").chmod(0o644)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(EMOJI, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    (DATA / "emoji").mkdir(exist_ok=True)
    for name, prompt in PICTURES.items():
        image = pipe(prompt, num_inference_steps=STEPS, guidance_scale=2.5,
                     generator=torch.Generator("cpu").manual_seed(7)).images[0]
        image.save(DATA / "emoji" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
