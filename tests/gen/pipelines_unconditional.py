"""Makes tests/data/unconditional: tiny pipelines without a text, and what diffusers makes of them in
float32.

runs.safetensors: "NAME/step.NN" are the latents after that call of the UNet, "NAME/latents" those
that the run was given, "NAME/image" the pictures in bytes. Settings stand in test_unconditional.c.
"""

import importlib
import pathlib
import shutil
import sys

import diffusers
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "models"))
import common  # noqa: E402
import unets2d  # noqa: E402

FOLDER = common.DATA / "unconditional"
STEPS = 20
DOWN, ATTN_DOWN, UP, ATTN_UP = "DownBlock2D", "AttnDownBlock2D", "UpBlock2D", "AttnUpBlock2D"


def unet(seed, down=(DOWN, ATTN_DOWN), up=(ATTN_UP, UP), **config):
    model = unets2d.unet(down, up, **{"block_out_channels": (4, 8), **config})
    model = common.fill(model, seed)
    if model.config.time_embedding_type == "fourier":
        model.time_proj.weight.data *= 128
    return model


def vqvae(seed):
    return common.fill(diffusers.VQModel(
        block_out_channels=(4, 8), norm_num_groups=4, num_vq_embeddings=12, latent_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2), seed)


def make_ddpm():
    return diffusers.DDPMPipeline(unet(60, sample_size=[8, 12]), diffusers.DDPMScheduler())


def make_gray():
    scheduler = diffusers.DDPMScheduler(variance_type="learned_range", beta_schedule="squaredcos_cap_v2")
    return diffusers.DDPMPipeline(unet(61, in_channels=1, out_channels=2), scheduler)


def make_ddim():
    """Its scheduler is of another class; diffusers makes a DDIMScheduler of it."""
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=100)
    model = unet(62, time_embedding_type="learned", num_train_timesteps=100)
    pipe = diffusers.DDIMPipeline(model, scheduler)
    pipe.saved_scheduler = scheduler
    return pipe


def make_pndm():
    return diffusers.PNDMPipeline(unet(63), diffusers.PNDMScheduler(beta_end=0.004))


def make_score():
    model = unet(64, ("SkipDownBlock2D",) * 2, ("SkipUpBlock2D",) * 2, time_embedding_type="fourier",
                 norm_num_groups=None, attention_head_dim=None)
    return diffusers.ScoreSdeVePipeline(model, diffusers.ScoreSdeVeScheduler(sigma_max=2))


def make_cm():
    model = unet(65, ("ResnetDownsampleBlock2D", ATTN_DOWN), (ATTN_UP, "ResnetUpsampleBlock2D"),
                 resnet_time_scale_shift="scale_shift", attn_norm_num_groups=8, num_class_embeds=5,
                 downsample_type="resnet", upsample_type="resnet")
    return diffusers.ConsistencyModelPipeline(model, diffusers.CMStochasticIterativeScheduler())


def make_ldm():
    scheduler = diffusers.DDIMScheduler(clip_sample=False, beta_end=0.004)
    return diffusers.LDMPipeline(vqvae(66), unet(67), scheduler)


MAKE = {"ddpm": make_ddpm, "gray": make_gray, "ddim": make_ddim, "pndm": make_pndm,
        "score": make_score, "cm": make_cm, "ldm": make_ldm}

# name: model, the call's settings, whether latents are given
CASES = {
    "ddpm": ("ddpm", dict(batch_size=2), False),
    "ddpm_given": ("ddpm", dict(), True),
    "gray": ("gray", dict(batch_size=2), False),
    "ddim": ("ddim", dict(batch_size=2), False),
    "ddim_given": ("ddim", dict(batch_size=2), True),
    "ddim_eta": ("ddim", dict(eta=0.5, use_clipped_model_output=True), False),
    "pndm": ("pndm", dict(batch_size=2), False),
    "pndm_given": ("pndm", dict(), True),
    "score": ("score", dict(batch_size=2), False),
    "score_given": ("score", dict(), True),
    "score_twice": ("score", dict(num_inference_steps=10), False),
    "cm": ("cm", dict(batch_size=2, class_labels=[3, 1]), False),
    "cm_given": ("cm", dict(class_labels=4), True),
    "cm_drawn": ("cm", dict(batch_size=3, num_inference_steps=2), False),
    "cm_one": ("cm", dict(class_labels=0, num_inference_steps=1), False),
    "cm_listed": ("cm", dict(class_labels=2, num_inference_steps=None, timesteps=[22, 0]), False),
    "ldm": ("ldm", dict(batch_size=2), False),
    "ldm_given": ("ldm", dict(), True),
}


def save(name, pipe):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    for component in ("unet", "vqvae"):
        if hasattr(pipe, component):
            getattr(pipe, component).half().save_pretrained(folder / component)
            getattr(pipe, component).float()
    getattr(pipe, "saved_scheduler", pipe.scheduler).save_pretrained(folder / "scheduler")
    pipe.save_config(folder)


def watch(scheduler, latents):
    """Keeps what each step of the scheduler gives."""
    def wrap(name):
        step = getattr(scheduler, name)

        def watched(*inputs, **settings):
            result = step(*inputs, **settings)
            latents.append(result[0].clone())
            if name == "step_pred":
                latents.mean = result.prev_sample_mean
            return result
        setattr(scheduler, name, watched)

    for name in ("step", "step_correct", "step_pred"):
        if hasattr(scheduler, name):
            wrap(name)


class Latents(list):
    mean = None


def give_latents(pipe, given):
    """Most of these pipelines take none: what they draw first becomes the given ones."""
    module = importlib.import_module(type(pipe).__module__)
    drawn = module.randn_tensor
    module.randn_tensor = lambda *inputs, **settings: given.clone()
    return module, drawn


def run(tensors, name, model, settings, is_given):
    pipe = MAKE[model]()
    pipe.set_progress_bar_config(disable=True)
    latents, module = Latents(), None
    generator = torch.Generator("cpu").manual_seed(7)
    settings = {"num_inference_steps": STEPS, "output_type": "np"} | settings
    if name == "score_twice":
        pipe.scheduler.register_to_config(correct_steps=2)
    if is_given:
        size = pipe.unet.config.sample_size
        size = [size, size] if isinstance(size, int) else size
        given = common.noise(settings.get("batch_size", 1), pipe.unet.config.in_channels, *size, seed=99)
        tensors[f"{name}/latents"] = given
        module, drawn = give_latents(pipe, given)
    if name == "cm_drawn":  # the labels come from torch's own generator
        torch.manual_seed(7)
        generator = None
    watch(pipe.scheduler, latents)
    image = torch.from_numpy(pipe(generator=generator, **settings).images).permute(0, 3, 1, 2)
    if module:
        module.randn_tensor = drawn
    if latents.mean is not None:
        latents[-1] = latents.mean
    for i in {1, 2, len(latents)}:
        if i <= len(latents):
            tensors[f"{name}/step.{i:02d}"] = latents[i - 1].contiguous()
    tensors[f"{name}/image"] = torch.round(image * 255).to(torch.uint8).contiguous()
    print(name, len(latents), latents[-1].std().item(), image.std().item())
    assert 0.1 < latents[-1].std() < 20 and image.std() > 0.05, name


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    tensors = {}
    for name, make in MAKE.items():
        save(name, make())
    for name, (model, settings, is_given) in CASES.items():
        run(tensors, name, model, settings, is_given)
    save_file(tensors, FOLDER / "runs.safetensors")
    for path in FOLDER.rglob("*.*"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
