"""Makes tests/data/tiny_xl, a StableDiffusionXLPipeline, tests/data/tiny_xl_refiner, whose text
encoder and VAE are the first one's, tests/data/tiny_xl_inpaint, a UNet of 9 channels for it, and
tests/data/pipelines_xl.safetensors: what diffusers makes of them, in float32.

"NAME/embeds" is [negative; positive], "NAME/pooled" likewise, "NAME/step.NN" the latents after that
call of the UNet, "NAME/latents" those that the run was given, "NAME/image" the picture in 0..1, for
some runs. Settings stand in test_pipeline_xl.c. "image" and "mask" are the pictures to start from.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import diffusers
import numpy
import PIL.Image
import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "models"))
import text  # noqa: E402
import tiny  # noqa: E402
import unets  # noqa: E402
from autoencoders import vae  # noqa: E402
from common import DATA, fill  # noqa: E402

BASE, REFINER, INPAINT = DATA / "tiny_xl", DATA / "tiny_xl_refiner", DATA / "tiny_xl_inpaint"
STEPS = 20
EULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
             timestep_spacing="leading")


def make_unet(seed, sizes, width, **more):
    return fill(unets.unet(
        block_out_channels=(4, 8), norm_num_groups=2, attention_head_dim=(1, 2),
        transformer_layers_per_block=(1, 2), use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=width,
        addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=12 + 4 * sizes, **more), seed).half()


def make_tokenizers():
    """The second one pads with "!", as SDXL's does."""
    first, words = tiny.make_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        first.save_pretrained(folder)
        path = pathlib.Path(folder) / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "!"}))
        return first, transformers.CLIPTokenizer.from_pretrained(folder), words


def make_models():
    first, second, words = make_tokenizers()
    config = dict(vocab_size=words, bos_token_id=words - 2, eos_token_id=words - 1,
                  max_position_embeddings=24, num_attention_heads=2, intermediate_size=16)
    tower = fill(transformers.CLIPTextModel(text.text_config(
        **config, hidden_size=8, pad_token_id=words - 1, num_hidden_layers=3)), 1).half()
    tower_2 = fill(transformers.CLIPTextModelWithProjection(text.text_config(
        **config, hidden_size=12, pad_token_id=0, hidden_act="gelu", projection_dim=12)), 2).half()
    coder = fill(vae(4, block_out_channels=(4, 4, 8, 8), norm_num_groups=2, layers_per_block=1,
                     sample_size=64, scaling_factor=0.13025, force_upcast=True,
                     latents_mean=[0.5, -0.25, 0.125, 1.0], latents_std=[1.5, 0.75, 2.0, 1.0]),
                 3).half()
    scheduler = diffusers.EulerDiscreteScheduler(**EULER)
    base = diffusers.StableDiffusionXLPipeline(
        coder, tower, tower_2, first, second, make_unet(4, 6, 20), scheduler,
        add_watermarker=False)
    base.save_pretrained(BASE)
    refiner = diffusers.StableDiffusionXLImg2ImgPipeline(
        coder, None, tower_2, None, second, make_unet(5, 5, 12), scheduler,
        requires_aesthetics_score=True, add_watermarker=False)
    refiner.save_pretrained(REFINER)
    for shared in ("text_encoder_2", "vae"):
        shutil.rmtree(REFINER / shared)
    make_unet(6, 6, 20, in_channels=9).save_pretrained(INPAINT)
    for folder in (BASE, REFINER, INPAINT):
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)


def pictures(width, height, seed):
    """A smooth picture with some noise, and a mask."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    waves = [numpy.sin(x / 7 + c) + numpy.cos(y / (5 + c)) for c in range(3)]
    image = numpy.stack(waves, -1) * 50 + 120 + random.integers(-8, 8, (height, width, 3))
    mask = ((x - width * 0.6) ** 2 + (y - height * 0.4) ** 2 < (width * 0.3) ** 2) * 255
    return (PIL.Image.fromarray(image.clip(0, 255).astype(numpy.uint8)),
            PIL.Image.fromarray(mask.astype(numpy.uint8)))


IMAGE, MASK = pictures(48, 40, 1)
IMAGE_64, MASK_64 = pictures(64, 64, 2)

# name: pipeline, scheduler and keys that replace the config's, the call's settings, whether the
# picture is kept
CASES = {
    "given": ("", "EulerDiscreteScheduler", {}, dict(latents=(1, 4, 8, 8)), True),
    "empty": ("", "EulerAncestralDiscreteScheduler", {}, dict(
        negative_prompt="", num_images_per_prompt=2, height=40, width=56, guidance_rescale=0.7,
        prompt_2="a cat"), False),
    "sizes": ("", "DDIMScheduler", {"clip_sample": False}, dict(
        height=40, width=48, negative_prompt="a cat", negative_prompt_2="red", clip_skip=1,
        original_size=(1000, 700), crops_coords_top_left=(3, 50), target_size=(640, 512),
        negative_original_size=(512, 384), negative_crops_coords_top_left=(7, 1),
        negative_target_size=(1024, 768)), False),
    "turbo": ("", "EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, dict(
        guidance_scale=0.0, num_inference_steps=1), False),
    "early": ("", "DPMSolverMultistepScheduler", {}, dict(
        height=40, width=48, denoising_end=0.55, latents=(1, 4, 5, 6)), False),
    "image": ("Img2Img", "EulerDiscreteScheduler", {}, dict(
        image=IMAGE, num_images_per_prompt=2, original_size=(100, 70), guidance_scale=3.0,
        crops_coords_top_left=(3, 5), negative_crops_coords_top_left=(7, 1)), True),
    "image_start": ("Img2Img", "HeunDiscreteScheduler", {}, dict(
        image=IMAGE, denoising_start=0.62, denoising_end=0.9), False),
    "inpaint": ("Inpaint", "EulerDiscreteScheduler", {}, dict(
        image=IMAGE_64, mask_image=MASK_64), True),
    "inpaint_start": ("Inpaint", "EulerAncestralDiscreteScheduler", {}, dict(
        image=IMAGE_64, mask_image=MASK_64, denoising_start=0.4, num_images_per_prompt=2), False),
    "inpaint_9": ("Inpaint 9", "DPMSolverMultistepScheduler", {}, dict(
        image=IMAGE, mask_image=MASK, width=48, height=40, strength=1.0), False),
    "inpaint_9_part": ("Inpaint 9", "EulerDiscreteScheduler", {}, dict(
        image=IMAGE, mask_image=MASK, width=48, height=40, num_images_per_prompt=2), False),
    "refine": ("Refiner", "EulerDiscreteScheduler", {}, dict(
        image="early", denoising_start=0.55, prompt_2="a cat"), True),
    "refine_heun": ("Refiner", "HeunDiscreteScheduler", {}, dict(
        image="early", denoising_start=0.55, negative_prompt="a cat", aesthetic_score=7.5,
        negative_aesthetic_score=1.0, num_images_per_prompt=2,
        negative_crops_coords_top_left=(9, 4)), False),
    "refine_noise": ("Refiner", "EulerDiscreteScheduler", {}, dict(
        image="early", strength=0.5), False),
}
PROMPT = "a red apple"


def open_pipes():
    base = diffusers.StableDiffusionXLPipeline.from_pretrained(
        BASE, torch_dtype=torch.float32, add_watermarker=False)
    parts = base.components
    refiner = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(
        REFINER, text_encoder_2=parts["text_encoder_2"], vae=parts["vae"],
        torch_dtype=torch.float32, add_watermarker=False)
    wide = diffusers.UNet2DConditionModel.from_pretrained(INPAINT, torch_dtype=torch.float32)
    inpaint = diffusers.StableDiffusionXLInpaintPipeline
    return {
        "": base,
        "Img2Img": diffusers.StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False),
        "Inpaint": inpaint(**parts, add_watermarker=False),
        "Inpaint 9": inpaint(**(parts | {"unet": wide}), add_watermarker=False),
        "Refiner": refiner,
    }


def run(tensors, pipe, name, settings, picture):
    steps, seen = [], {}
    if "latents" in settings:
        generator = torch.Generator("cpu").manual_seed(99)
        given = torch.round(torch.randn(settings["latents"], generator=generator) * 8) / 8
        tensors[f"{name}/latents"] = settings["latents"] = given
    if isinstance(settings.get("image"), str):
        settings["image"] = tensors[settings["image"] + "/last"]

    def keep(pipe, step, t, values):
        steps.append(values["latents"].clone(memory_format=torch.contiguous_format))
        seen.update(values)
        return values

    out = pipe(PROMPT, **({"num_inference_steps": STEPS} | settings),
               generator=torch.Generator("cpu").manual_seed(7), callback_on_step_end=keep,
               output_type="pt" if picture else "latent",
               callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "add_text_embeds"])
    copies = settings.get("num_images_per_prompt", 1)
    tensors[f"{name}/embeds"] = seen["prompt_embeds"][::copies].contiguous()
    tensors[f"{name}/pooled"] = seen["add_text_embeds"][::copies].contiguous()
    for i in sorted({1, len(steps) // 2 + 1, len(steps)}):
        tensors[f"{name}/step.{i:02d}"] = steps[i - 1]
    tensors[f"{name}/calls"] = torch.tensor([float(len(steps))])
    if name == "early":
        tensors["early/last"] = steps[-1].clone()
    if picture:
        tensors[f"{name}/image"] = torch.round(out.images * 255).to(
            torch.uint8).contiguous()


def main():
    torch.set_num_threads(1)
    make_models()
    pipes, tensors = open_pipes(), {}
    config = dict(pipes[""].scheduler.config)
    for name, (kind, cls, keys, settings, picture) in CASES.items():
        pipe = pipes[kind]
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = getattr(diffusers, cls).from_config(config, **keys)
        run(tensors, pipe, name, dict(settings), picture)
    for name, image in (("image", IMAGE), ("mask", MASK), ("image_64", IMAGE_64),
                        ("mask_64", MASK_64)):
        tensors[name] = torch.from_numpy(numpy.array(image))
    save_file(tensors, DATA / "pipelines_xl.safetensors")
    (DATA / "pipelines_xl.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
