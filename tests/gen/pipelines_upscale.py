"""Makes tests/data/upscale: tiny upscalers, and what diffusers makes of a picture with them in float32.

As in picture_pipelines.py, whose parts it takes: a folder has what differs from tests/data/tiny, and
runs.safetensors "picture", "small", "init_latents", and "NAME/step.NN", "NAME/latents" and "NAME/image" of the
runs, whose settings stand in test_upscale.c.
"""

import numpy as np
import PIL.Image
import torch
import diffusers
from safetensors.torch import save_file

import picture_pipelines as pictures
from picture_pipelines import common, make_latents, parts, run, save, small_unet

pictures.FOLDER = common.DATA / "upscale"


def upscale():
    """Three levels, so that a latent is 4 pixels wide, as in the published model."""
    tiny = parts("text_encoder", "tokenizer")
    vae = common.fill(diffusers.AutoencoderKL(
        block_out_channels=(4, 4, 8), norm_num_groups=2, layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3), 41)
    return diffusers.StableDiffusionUpscalePipeline(
        **tiny, vae=vae, unet=small_unet(42, in_channels=7, num_class_embeds=64),
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.0001, beta_end=0.02, beta_schedule="scaled_linear", clip_sample=False,
            prediction_type="v_prediction", set_alpha_to_one=False, steps_offset=1),
        low_res_scheduler=diffusers.DDPMScheduler(
            beta_schedule="scaled_linear", beta_start=0.0001, beta_end=0.02),
        max_noise_level=60)


def latent_upscale():
    tiny = parts("vae", "text_encoder", "tokenizer")
    net = small_unet(
        43, block_out_channels=(32,), norm_num_groups=None, mid_block_type=None, act_fn="gelu",
        attention_head_dim=16, time_embedding_type="fourier", timestep_post_act="gelu",
        time_cond_proj_dim=160, conv_in_kernel=1, conv_out_kernel=1, in_channels=8, out_channels=5,
        resnet_time_scale_shift="scale_shift", time_embedding_dim=32,
        down_block_types=("KCrossAttnDownBlock2D",), up_block_types=("KCrossAttnUpBlock2D",))
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="sample")
    return diffusers.StableDiffusionLatentUpscalePipeline(**tiny, unet=net, scheduler=scheduler)


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(6)
    picture = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(picture).resize((29, 22), PIL.Image.Resampling.BICUBIC)
    little = image.resize((17, 9), PIL.Image.Resampling.BICUBIC)
    tensors = {"picture": torch.from_numpy(np.asarray(image).copy()),
               "small": torch.from_numpy(np.asarray(little).copy())}

    pipe = upscale()
    save("x4", pipe, ("unet", "vae", "scheduler", "low_res_scheduler"))
    run(tensors, "x4", pipe, image=image, guidance_scale=3.0, negative_prompt="a cat",
        num_images_per_prompt=2)
    run(tensors, "x4_given", pipe, image=image, guidance_scale=1.0, noise_level=55,
        latents=make_latents(tensors, "x4_given", 1, 4, 20, 28))
    run(tensors, "x4_list", pipe, prompt=["a cat", "a red apple"], image=[little] * 2,
        guidance_scale=3.0, negative_prompt=["red", ""], num_images_per_prompt=2)

    small = make_latents(tensors, "init", 1, 4, 5, 7)
    tensors["init_latents"] = tensors.pop("init/latents")
    pipe = latent_upscale()
    save("x2", pipe, ("unet", "scheduler"))
    run(tensors, "x2", pipe, image=small, guidance_scale=2.5, negative_prompt="a cat")
    run(tensors, "x2_picture", pipe, image=image, guidance_scale=0,
        latents=make_latents(tensors, "x2_picture", 1, 4, 4, 6))
    run(tensors, "x2_list", pipe, prompt=["a cat", "a red apple"], image=[little] * 2,
        guidance_scale=2.5, negative_prompt=["red", ""])

    save_file(tensors, pictures.FOLDER / "runs.safetensors")
    for path in pictures.FOLDER.rglob("*.*"):
        path.chmod(0o644)


if __name__ == "__main__":
    with torch.no_grad():
        main()
