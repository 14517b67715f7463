"""Models that turn embeddings into others."""

from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder

from common import MODELS, add_run, check_effect, fill, noise


def make():
    model = fill(ReduxImageEncoder(redux_dim=12, txt_in_features=20), 60)
    inputs = {"x": noise(3, 7, 12)}

    def run(m):
        return {"image_embeds": m(inputs["x"]).image_embeds}

    check_effect(model, [run])
    add_run("redux", inputs, run(model))
    model.half().save_pretrained(MODELS / "redux")
