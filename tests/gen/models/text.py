"""CLIP text encoders."""

import torch
import transformers
from safetensors.torch import load_file, save_file

from common import MODELS, add_run, check_effect, fill


def text_config(**more):
    return transformers.CLIPTextConfig(**{
        "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 32, "bos_token_id": 38,
        "eos_token_id": 39, "pad_token_id": 39, **more})


def run_text(name, model, tokens, batch=2):
    generator = torch.Generator("cpu").manual_seed(1)
    ids = torch.randint(0, model.config.vocab_size, (batch, tokens), generator=generator)

    def run(m):
        y = m(ids, output_hidden_states=True)
        out = {"last_hidden_state": y.last_hidden_state, "hidden_states.-2": y.hidden_states[-2]}
        return out | {k: y[k] for k in ("pooler_output", "text_embeds") if k in y}

    check_effect(model, [run])
    add_run(name, {"input_ids": ids}, run(model))


def make_gelu():
    """As transformers before 4.31 wrote it: all names with a prefix, and the positions' numbers."""
    folder = MODELS / "text_gelu"
    model = fill(transformers.CLIPTextModel(text_config(hidden_act="gelu", num_hidden_layers=3,
                                                        layer_norm_eps=1e-3)), 10)
    run_text("text_gelu", model, 32)
    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    prefix = "" if any(k.startswith("text_model.") for k in state) else "text_model."
    state = {prefix + k: v for k, v in state.items()}
    state["text_model.embeddings.position_ids"] = torch.arange(32)[None]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def make():
    """The others are of SDXL's second tower's kind. text_old_eos has the eos_token_id that configs
    had before transformers 4.31, with which the position of the largest id is pooled."""
    make_gelu()
    projected = transformers.CLIPTextModelWithProjection
    for seed, name, config, tokens in (
            (11, "text_projection", dict(hidden_act="gelu", projection_dim=24), 31),
            (12, "text_old_eos", dict(num_hidden_layers=1, projection_dim=56, eos_token_id=2), 7)):
        model = fill(projected(text_config(**config)), seed)
        run_text(name, model, tokens, batch=3)
        model.half().save_pretrained(MODELS / name)
