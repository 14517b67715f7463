"""Makes tests/data/picture_pipelines: tiny models of the pipelines that start from a picture, and what
diffusers makes of them in float32.

A folder has model_index.json and the components that differ from tests/data/tiny's, or tiny_xl's; "lcm"'s
UNet is that of tests/data/models/unet_lcm, which pipelines_image.py makes; "depth2img_estimated" has all of
"depth2img" and an estimator.
runs.safetensors: "picture" [H, W, 3] and "depth" [h, w] are what the runs are given, "NAME/step.NN"
the latents after that step, "NAME/latents" those that it was given (the noise on a picture), "NAME/image" the picture in
bytes. Settings stand in
test_picture_pipelines.c.
"""

import json
import pathlib
import shutil
import sys

import diffusers
import numpy as np
import PIL.Image
import torch
import transformers
from diffusers.pipelines.latent_consistency_models import pipeline_latent_consistency_img2img
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "models"))
import common  # noqa: E402
import unets  # noqa: E402

FOLDER = common.DATA / "picture_pipelines"
STEPS = 20
PROMPT = "a red apple"


def parts(*names):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(common.TINY, torch_dtype=torch.float32)
    return {name: getattr(pipe, name) for name in names}


def small_unet(seed, **config):
    config = dict(block_out_channels=(8,), norm_num_groups=4, cross_attention_dim=32,
                  attention_head_dim=2, layers_per_block=1,
                  down_block_types=("CrossAttnDownBlock2D",),
                  up_block_types=("CrossAttnUpBlock2D",)) | config
    return common.fill(unets.unet(**config), seed)


def save(name, pipe, own):
    """Only the components that are its own; their weights in half precision, which holds them."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    for component in own:
        model = getattr(pipe, component)
        if hasattr(model, "half"):
            model.half()
        model.save_pretrained(folder / component)
        if hasattr(model, "half"):
            model.float()
    pipe.save_config(folder)


def pix2pix():
    tiny = parts("vae", "text_encoder", "tokenizer")
    scheduler = diffusers.EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        timestep_spacing="leading")
    return diffusers.StableDiffusionInstructPix2PixPipeline(
        **tiny, unet=small_unet(31, in_channels=8), scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)


def depth2img():
    tiny = parts("vae", "text_encoder", "tokenizer", "scheduler")
    return diffusers.StableDiffusionDepth2ImgPipeline(
        **tiny, unet=small_unet(32, in_channels=5), depth_estimator=None, feature_extractor=None)


def depth2img_estimated():
    """Its estimator is tests/data/models/dpt_hybrid, which models/depth.py makes."""
    estimator = transformers.DPTForDepthEstimation.from_pretrained(
        common.MODELS / "dpt_hybrid", torch_dtype=torch.float32)
    processor = transformers.DPTImageProcessor(
        size={"height": 48, "width": 48}, resample=3, image_mean=[0.5, 0.25, 0.5],
        image_std=[0.5, 0.5, 0.75])
    tiny = parts("vae", "text_encoder", "tokenizer", "scheduler")
    net = small_unet(32, in_channels=5)
    return diffusers.StableDiffusionDepth2ImgPipeline(
        **tiny, unet=net, depth_estimator=estimator, feature_extractor=processor)


def pix2pix_xl():
    base = diffusers.StableDiffusionXLPipeline.from_pretrained(
        common.DATA / "tiny_xl", torch_dtype=torch.float32, add_watermarker=False)
    own = {name: part for name, part in base.components.items()
           if name not in ("unet", "image_encoder", "feature_extractor")}
    net = small_unet(33, in_channels=8, cross_attention_dim=20, addition_embed_type="text_time",
                     addition_time_embed_dim=4, projection_class_embeddings_input_dim=36)
    return diffusers.StableDiffusionXLInstructPix2PixPipeline(
        **own, unet=net, add_watermarker=False)


def make_cosxl(pipe):
    """CosXL's scheduler and key, which diffusers reads from model_index.json but does not write."""
    pipe.is_cosxl_edit = True
    pipe.scheduler = diffusers.EDMEulerScheduler(sigma_max=80, prediction_type="v_prediction")
    save("pix2pix_cosxl", pipe, ("scheduler",))
    path = FOLDER / "pix2pix_cosxl" / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is_cosxl_edit": True}, indent=2))


def lcm():
    tiny = parts("vae", "text_encoder", "tokenizer")
    net = diffusers.UNet2DConditionModel.from_pretrained(
        common.MODELS / "unet_lcm", torch_dtype=torch.float32)
    return diffusers.LatentConsistencyModelImg2ImgPipeline(
        **tiny, unet=net, scheduler=diffusers.LCMScheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)


def run_with_noise(tensors, name, pipe, shape, **settings):
    """The noise on a picture is given, which diffusers takes no argument for."""
    given = make_latents(tensors, name, *shape)
    draws = pipeline_latent_consistency_img2img.randn_tensor
    pipeline_latent_consistency_img2img.randn_tensor = lambda *_, **__: given
    run(tensors, name, pipe, **settings)
    pipeline_latent_consistency_img2img.randn_tensor = draws


def make_latents(tensors, name, *shape):
    generator = torch.Generator("cpu").manual_seed(99)
    given = torch.round(torch.randn(shape, generator=generator) * 8) / 8
    tensors[f"{name}/latents"] = given
    return given


def keep_steps(latents):
    """For pipelines that call back at the end of a step, and for older ones."""
    def at_end(pipe, step, t, values):
        latents.append(values["latents"].clone())
        return values

    return at_end, lambda step, t, values: latents.append(values.clone())


def run(tensors, name, pipe, **settings):
    latents = []
    at_end, old = keep_steps(latents)
    pipe.set_progress_bar_config(disable=True)
    calls_back = "callback_on_step_end" in type(pipe).__call__.__annotations__
    settings |= {"callback_on_step_end": at_end} if calls_back else {"callback": old}
    image = pipe(output_type="pt", generator=torch.Generator("cpu").manual_seed(7),
                 **({"prompt": PROMPT, "num_inference_steps": STEPS} | settings)).images
    for i in (1, 2, len(latents)):
        tensors[f"{name}/step.{i:02d}"] = latents[i - 1].contiguous()
    tensors[f"{name}/image"] = torch.round(image * 255).to(torch.uint8).contiguous()
    assert 0.1 < latents[-1].std() < 20 and image.std() > 0.05, name


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    picture = np.asarray(PIL.Image.fromarray(picture).resize((75, 42), PIL.Image.Resampling.BICUBIC))
    depth = torch.from_numpy((rng.integers(0, 4096, (9, 11)) / 8).astype(np.float32))
    tensors = {"picture": torch.from_numpy(picture.copy()), "depth": depth}
    image = PIL.Image.fromarray(picture)

    pipe = pix2pix()
    save("pix2pix", pipe, ("unet", "scheduler"))
    run(tensors, "pix2pix", pipe, image=image, guidance_scale=3.0, image_guidance_scale=1.25,
        negative_prompt="a cat", num_images_per_prompt=2)
    run(tensors, "pix2pix_text", pipe, image=image, guidance_scale=3.0, image_guidance_scale=0.5)

    pipe = depth2img()
    save("depth2img", pipe, ("unet",))
    run(tensors, "depth2img", pipe, image=image, depth_map=depth[None], strength=0.65,
        guidance_scale=3.0, negative_prompt="a cat", num_images_per_prompt=2)

    pipe = depth2img_estimated()
    save("depth2img_estimated", pipe, ("feature_extractor",))
    run(tensors, "estimated", pipe, image=image, strength=0.65, guidance_scale=3.0,
        num_images_per_prompt=2)

    pipe = pix2pix_xl()
    save("pix2pix_xl", pipe, ("unet",))
    run(tensors, "xl", pipe, image=image, guidance_scale=3.0, image_guidance_scale=1.25,
        guidance_rescale=0.6, negative_prompt="a cat", negative_prompt_2="red", prompt_2="blue",
        num_images_per_prompt=2, width=72, height=40, original_size=(100, 120),
        crops_coords_top_left=(3, 5), target_size=(50, 60))
    run(tensors, "xl_given", pipe, image=image, image_guidance_scale=1.0, denoising_end=0.6,
        latents=make_latents(tensors, "xl_given", 1, 4, 8, 8))
    run(tensors, "xl_text", pipe, image=image, image_guidance_scale=0.5)
    make_cosxl(pipe)
    run(tensors, "cosxl", pipe, image=image, guidance_scale=3.0, width=72, height=40)

    pipe = lcm()
    save("lcm", pipe, ("scheduler",))
    run(tensors, "lcm", pipe, image=image, num_inference_steps=4, num_images_per_prompt=2)
    run_with_noise(tensors, "lcm_given", pipe, (1, 4, 5, 9), image=image, num_inference_steps=7,
                   strength=0.43, guidance_scale=3.0, original_inference_steps=30)

    save_file(tensors, FOLDER / "runs.safetensors")
    for path in FOLDER.rglob("*.*"):
        path.chmod(0o644)


if __name__ == "__main__":
    with torch.no_grad():
        main()
