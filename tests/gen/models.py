"""Makes tests/data/tiny, a StableDiffusionPipeline's folder, tests/data/models, single components of
other configurations, and tests/data/models.safetensors: "FOLDER[.RUN]/in/NAME", inputs, and
"FOLDER[.RUN]/out/NAME", what diffusers and transformers give for them in float32.

Weights are random with few bits each, so that the files compress, and their outputs are about 1.
"""

import json
import logging
import pathlib
import shutil
import tempfile
import warnings

import diffusers
import torch
import transformers
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
TINY, MODELS = DATA / "tiny", DATA / "models"
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
TOKENS = 24  # fewer than the text encoder's 32 positions
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"

# What is read but changes nothing: a bias of the keys shifts all scores of a query alike.
WITHOUT_EFFECT = ("k_proj.bias", "mid_block.attentions.0.to_k.bias")


def coarse(shape, generator):
    return torch.round(torch.randn(shape, generator=generator) * 2) / 2


def fill(model, seed):
    """Norm weights about 1, biases about 0.1, matrices that keep the scale of what they multiply."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for name, p in model.named_parameters():
        value = coarse(p.shape, generator)
        if p.dim() == 1:
            value = value / 8 + (1 if "norm" in name and name.endswith("weight") else 0)
        elif "embedding.weight" not in name:
            value *= 2.0 ** round(-0.5 * torch.log2(torch.tensor(float(p[0].numel()))).item())
        p.data = value
    return model.eval()


def changed(model, p, run, before):
    """How much the outputs change with a parameter, relatively."""
    kept = p.data
    p.data = kept * 1.5 + 0.125
    after = run(model)
    p.data = kept
    return max(((after[k] - before[k]).norm() / before[k].norm()).item() for k in before)


def check_effect(model, runs):
    outputs = [run(model) for run in runs]
    for name, p in model.named_parameters():
        effect = max(changed(model, p, run, before) for run, before in zip(runs, outputs))
        has_one_channel_a_group = name.endswith(("conv1.bias", "time_emb_proj.bias"))
        assert effect > 1e-3 or name.endswith(WITHOUT_EFFECT) or has_one_channel_a_group, (name, effect)
    for output in outputs:
        for name, value in output.items():
            assert 0.1 < value.std() < 10, (name, value.std())


def add_run(tensors, name, inputs, outputs):
    for key, value in inputs.items():
        tensors[f"{name}/in/{key}"] = value.contiguous()
    for key, value in outputs.items():
        tensors[f"{name}/out/{key}"] = value.float().contiguous()


def noise(*shape, seed=0):
    return coarse(shape, torch.Generator("cpu").manual_seed(seed))


# ---- text encoders ----


def text_config(**more):
    return transformers.CLIPTextConfig(**{
        "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 32, "bos_token_id": 38,
        "eos_token_id": 39, "pad_token_id": 39, **more})


def run_text(tensors, name, model, tokens):
    generator = torch.Generator("cpu").manual_seed(1)
    ids = torch.randint(0, model.config.vocab_size, (2, tokens), generator=generator)

    def run(m):
        y = m(ids, output_hidden_states=True)
        return {"last_hidden_state": y.last_hidden_state, "hidden_states.-2": y.hidden_states[-2]}

    check_effect(model, [run])
    add_run(tensors, name, {"input_ids": ids}, run(model))


def make_text(tensors):
    """As transformers before 4.31 wrote it: all names with a prefix, and the positions' numbers."""
    folder = MODELS / "text_gelu"
    model = fill(transformers.CLIPTextModel(text_config(hidden_act="gelu", num_hidden_layers=3,
                                                        layer_norm_eps=1e-3)), 10)
    run_text(tensors, "models/text_gelu", model, 32)
    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    prefix = "" if any(k.startswith("text_model.") for k in state) else "text_model."
    state = {prefix + k: v for k, v in state.items()}
    state["text_model.embeddings.position_ids"] = torch.arange(32)[None]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


# ---- UNets ----


def unet(**more):
    return diffusers.UNet2DConditionModel(**{
        "sample_size": 8, "block_out_channels": (8, 16), "norm_num_groups": 4,
        "layers_per_block": 1, "cross_attention_dim": 12, "attention_head_dim": 4,
        "down_block_types": (CROSS_DOWN, "DownBlock2D"), "up_block_types": ("UpBlock2D", CROSS_UP),
        **more})


UNETS = {
    "unet_linear": dict(
        use_linear_projection=True, attention_head_dim=[2, 4], layers_per_block=[2, 1],
        transformer_layers_per_block=2, down_block_types=(CROSS_DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, CROSS_UP)),
    "unet_cross": dict(
        only_cross_attention=True, center_input_sample=True, flip_sin_to_cos=False, freq_shift=1,
        norm_eps=1e-3),
    "unet_scales": dict(
        downsample_padding=0, mid_block_scale_factor=1.5, resnet_out_scale_factor=1.25,
        time_embedding_dim=24, conv_in_kernel=5, conv_out_kernel=1, in_channels=5, out_channels=3),
    "unet_three": dict(
        block_out_channels=(8, 8, 16), attention_head_dim=[1, 2, 4],
        transformer_layers_per_block=[1, 1, 2], layers_per_block=[1, 2, 1], sample_size=[8, 12],
        only_cross_attention=[False, True, False],
        down_block_types=("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, "UpBlock2D", CROSS_UP)),
    "unet_refiner": dict(
        use_linear_projection=True, flip_sin_to_cos=False, freq_shift=1, time_embedding_dim=24,
        addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=31),
    "unet_sdxl": dict(
        block_out_channels=(8, 8, 16), attention_head_dim=[2, 4, 8],
        transformer_layers_per_block=[1, 2, 3], use_linear_projection=True,
        down_block_types=("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, CROSS_UP, "UpBlock2D"), addition_embed_type="text_time",
        addition_time_embed_dim=6, projection_class_embeddings_input_dim=49),
}

# Sizes for each sample: the refiner's (height, width, top, left, score), and SDXL's
# (height, width, top, left, height, width).
TIME_IDS = {
    "unet_refiner": [[1024, 768, 0, 64, 6.0], [512, 512, 7, 0, 2.5], [1, 2, 3, 4, 5]],
    "unet_sdxl": [[1024, 768, 0, 64, 512, 640], [100, 1333, 7, 0, 1024, 1024],
                  [1, 2, 3, 4, 5, 6]],
}


def run_unet(tensors, name, model, height, width):
    batch = 3
    added = {}
    if model.config.addition_embed_type:
        ids = torch.tensor(TIME_IDS[pathlib.Path(name).name], dtype=torch.float32)
        sinusoids = ids.shape[1] * model.config.addition_time_embed_dim
        pooled = model.config.projection_class_embeddings_input_dim - sinusoids
        added = {"text_embeds": noise(batch, pooled, seed=6), "time_ids": ids}
    inputs = {
        "sample": noise(batch, model.config.in_channels, height, width, seed=2),
        "timestep": torch.tensor([832.5, 0.25, 999.0]),
        "encoder_hidden_states": noise(batch, 7, model.config.cross_attention_dim, seed=3),
    }

    def run(m):
        return {"sample": m(**inputs, added_cond_kwargs=added).sample}

    check_effect(model, [run])
    add_run(tensors, name, inputs | added, run(model))


def make_unets(tensors):
    for seed, (name, config) in enumerate(UNETS.items()):
        model = fill(unet(**config), 20 + seed)
        run_unet(tensors, f"models/{name}", model, 13, 19)
        model.half().save_pretrained(MODELS / name)


# ---- autoencoders ----


def vae(levels, **more):
    return diffusers.AutoencoderKL(**{
        "norm_num_groups": 4, "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels, **more})


def run_vae(tensors, name, model, height, width):
    config = model.config
    image = {"sample": noise(2, config.in_channels, height, width, seed=4) / 2}
    latent = {"latent": noise(2, config.latent_channels, 5, 7, seed=5)}

    def encode(m):
        posterior = m.encode(image["sample"]).latent_dist
        return {"latent_mean": posterior.mean, "latent_logvar": posterior.logvar}

    def decode(m):
        return {"sample": m.decode(latent["latent"]).sample}

    check_effect(model, [encode, decode])
    add_run(tensors, f"{name}.encode", image, encode(model))
    add_run(tensors, f"{name}.decode", latent, decode(model))


def make_sharded_vae(tensors):
    model = fill(vae(3, block_out_channels=(8, 8, 16), latent_channels=3, layers_per_block=1,
                     mid_block_add_attention=False, use_quant_conv=False,
                     use_post_quant_conv=False), 30)
    run_vae(tensors, "models/vae_sharded", model, 21, 30)
    model.half().save_pretrained(MODELS / "vae_sharded", max_shard_size="30KB")


def make_old_vae(tensors):
    """As diffusers before 0.14 wrote it, and in a file of the variant fp16."""
    folder = MODELS / "vae_old"
    model = fill(vae(2, block_out_channels=(8, 16), layers_per_block=2), 31)
    run_vae(tensors, "models/vae_old", model, 21, 30)
    model.half().save_pretrained(folder, variant="fp16")
    path = folder / "diffusion_pytorch_model.fp16.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, value in load_file(path).items():
        for new, before in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        state[name] = value
    save_file(state, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    short = ("_class_name", "block_out_channels", "down_block_types", "up_block_types",
             "layers_per_block", "norm_num_groups", "latent_channels", "sample_size")
    config = {k: config[k] for k in short}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_vaes(tensors):
    make_sharded_vae(tensors)
    make_old_vae(tensors)
    model = fill(vae(1, block_out_channels=(32,), norm_num_groups=16, in_channels=1,
                     out_channels=2), 32)
    run_vae(tensors, "models/vae_one", model, 9, 13)
    model.half().save_pretrained(MODELS / "vae_one")


# ---- the pipeline ----


def make_tokenizer():
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    merges = ["r e", "re d</w>", "c a", "ca t</w>", "a p", "p l", "pl e</w>", "ap ple</w>"]
    tokens = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges]
    vocabulary = {t: i for i, t in enumerate(tokens + [BOS, EOS])}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps(
            {"model_max_length": TOKENS, "pad_token": EOS, "tokenizer_class": "CLIPTokenizer"}))
        return transformers.CLIPTokenizer.from_pretrained(folder), len(vocabulary)


def make_tiny(tensors):
    tokenizer, words = make_tokenizer()
    text = fill(transformers.CLIPTextModel(text_config(
        vocab_size=words, bos_token_id=words - 2, eos_token_id=words - 1,
        pad_token_id=words - 1)), 1)
    net = fill(unet(block_out_channels=(32, 64), norm_num_groups=8, cross_attention_dim=32), 2)
    coder = fill(vae(4, block_out_channels=(16, 16, 16, 32), norm_num_groups=8,
                     layers_per_block=1, sample_size=64), 3)
    run_text(tensors, "tiny/text_encoder", text, TOKENS)
    run_unet(tensors, "tiny/unet", net, 13, 19)
    run_vae(tensors, "tiny/vae", coder, 21, 30)
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
        steps_offset=1)
    pipe = diffusers.StableDiffusionPipeline(
        coder.half(), text.half(), tokenizer, net.half(), scheduler, None, None, None,
        requires_safety_checker=False)
    pipe.save_pretrained(TINY)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    for folder in (TINY, MODELS):
        shutil.rmtree(folder, ignore_errors=True)
    tensors = {}
    make_tiny(tensors)
    make_text(tensors)
    make_unets(tensors)
    make_vaes(tensors)
    save_file(tensors, DATA / "models.safetensors")
    for path in [DATA / "models.safetensors", *TINY.rglob("*.*"), *MODELS.rglob("*.*")]:
        path.chmod(0o644)


if __name__ == "__main__":
    main()
