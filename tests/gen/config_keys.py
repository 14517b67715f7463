"""config_keys.json - the config keys of classes and their defaults, as diffusers and transformers
have them; tests/test_config_keys.c sees that none of them is unknown here.

    python tests/gen/config_keys.py"""

import inspect
import json
import pathlib

import diffusers
import transformers

MODELS = ["AsymmetricAutoencoderKL", "AutoencoderKL", "AutoencoderTiny", "ReduxImageEncoder",
          "UNet2DConditionModel", "UNet2DModel", "VQModel"]
TRANSFORMERS = {"CLIPTextModel": "CLIPTextConfig", "CLIPTextModelWithProjection": "CLIPTextConfig",
                "DPTForDepthEstimation": "DPTConfig"}


def model_keys(name):
    module = diffusers.pipelines.flux.modeling_flux if name == "ReduxImageEncoder" else diffusers
    arguments = inspect.signature(getattr(module, name).__init__).parameters
    return {k: a.default for k, a in arguments.items() if k != "self"}


keys = {name: model_keys(name) for name in MODELS}
for name, config in TRANSFORMERS.items():
    keys[name] = getattr(transformers, config)().to_dict()
    keys[name].pop("transformers_version")
path = pathlib.Path(__file__).parent.parent / "data" / "config_keys.json"
path.write_text(json.dumps(keys, indent=1) + "\n")
