"""UNet2DModel: what DDPM, NCSN++, ADM and latent diffusion without text use of it."""

import diffusers
import torch
from safetensors.torch import load_file, save_file

from common import MODELS, add_run, check_effect, fill, noise


def unet(down, up, **more):
    return diffusers.UNet2DModel(**{
        "sample_size": 8, "block_out_channels": (8, 16), "norm_num_groups": 4,
        "layers_per_block": 1, "attention_head_dim": 4, "down_block_types": down,
        "up_block_types": up, **more})


DOWN, ATTN_DOWN, SKIP_DOWN = "DownBlock2D", "AttnDownBlock2D", "SkipDownBlock2D"
UP, ATTN_UP, SKIP_UP = "UpBlock2D", "AttnUpBlock2D", "SkipUpBlock2D"

UNETS = {
    # as google/ddpm-cifar10-32: one head, zeros at the far side only
    "unet2d_ddpm": ((DOWN, ATTN_DOWN), (ATTN_UP, UP), dict(
        attention_head_dim=None, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1,
        norm_eps=1e-6, sample_size=[8, 12])),
    # as google/ncsnpp-celebahq-256
    "unet2d_ncsnpp": ((SKIP_DOWN, "AttnSkipDownBlock2D", SKIP_DOWN),
                      (SKIP_UP, SKIP_UP, SKIP_UP), dict(
        block_out_channels=(4, 32, 4), attention_head_dim=None, norm_num_groups=None,
        mid_block_scale_factor=1.41421356237, norm_eps=1e-6, time_embedding_type="fourier")),
    "unet2d_attn_skip": (("AttnSkipDownBlock2D",), ("AttnSkipUpBlock2D",), dict(
        block_out_channels=(32,), time_embedding_dim=16, mid_block_type=None)),
    # as the consistency models of ImageNet
    "unet2d_adm": (("ResnetDownsampleBlock2D", ATTN_DOWN), (ATTN_UP, "ResnetUpsampleBlock2D"), dict(
        resnet_time_scale_shift="scale_shift", attn_norm_num_groups=8, num_class_embeds=5,
        downsample_type="resnet", upsample_type="resnet")),
    "unet2d_resnets": ((ATTN_DOWN, DOWN), (UP, ATTN_UP), dict(
        resnet_time_scale_shift="scale_shift", class_embed_type="timestep", attention_head_dim=6,
        downsample_type="resnet", upsample_type="resnet", act_fn="gelu", in_channels=1,
        out_channels=2, center_input_sample=True)),
    "unet2d_learned": ((DOWN, ATTN_DOWN), (ATTN_UP, UP), dict(
        time_embedding_type="learned", num_train_timesteps=20, class_embed_type="identity",
        time_embedding_dim=24, mid_block_type=None, act_fn="mish")),
    "unet2d_plain": (("UNetResDownBlock2D",), ("UNetResUpBlock2D",), dict(
        block_out_channels=(8,), layers_per_block=2, add_attention=False, mid_block_scale_factor=1.5)),
}
TIMES = {  # torch's logarithm of these is the nearest to the exact one, which is not always so
    "unet2d_ncsnpp": [0.01, 17.0, 378.25],
    "unet2d_learned": [19, 0, 7],
}


def labels(config):
    if config.class_embed_type == "timestep":
        return torch.tensor([3.0, 0.0, 250.5])
    if config.class_embed_type == "identity":
        return noise(3, config.time_embedding_dim, seed=8)
    return torch.tensor([4, 0, 2]) if config.num_class_embeds else None


def run_unet(name, model, height, width):
    inputs = {
        "sample": noise(3, model.config.in_channels, height, width, seed=2),
        "timestep": torch.tensor(TIMES.get(name, [832.5, 0.25, 999.0])),
    }
    if (given := labels(model.config)) is not None:
        inputs["class_labels"] = given

    def run(m):
        return {"sample": m(**inputs).sample}

    if name == "unet2d_ncsnpp":  # results are divided by the timesteps
        assert (torch.log(inputs["timestep"]) == torch.log(inputs["timestep"].double()).float()).all()
        check_effect(model, [lambda m: {"sample": run(m)["sample"][1:2] * 17}])
    else:
        check_effect(model, [run])
    add_run(name, inputs, run(model))


def rename_attention(folder):
    """As diffusers before 0.14 wrote it."""
    path = folder / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, value in load_file(path).items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        state[name] = value
    save_file(state, path, metadata={"format": "pt"})


def make():
    for seed, (name, (down, up, config)) in enumerate(UNETS.items()):
        model = fill(unet(down, up, **config), 90 + seed)
        if model.config.time_embedding_type == "fourier":
            model.time_proj.weight.data *= 128  # 16 on average
        run_unet(name, model, 12, 20)
        model.half().save_pretrained(MODELS / name)
    rename_attention(MODELS / "unet2d_ddpm")
