"""Schedulers over alphas_cumprod, without sigmas."""

import diffusers
from common import SD, SPACINGS, TRAINED, ZERO_SNR, Class


def over_alphas(**more):
    """What every class of the group has."""
    for spacing in SPACINGS:
        for offset in (0, 1):
            yield dict(SD, timestep_spacing=spacing, steps_offset=offset, **more)
    yield {}
    yield {"beta_schedule": "squaredcos_cap_v2"}
    yield dict(SD, prediction_type="v_prediction")
    yield TRAINED


def ddim():
    yield from over_alphas(clip_sample=False)
    yield ZERO_SNR
    yield dict(SD, prediction_type="sample", set_alpha_to_one=False, clip_sample_range=0.7)
    yield dict(SD, thresholding=True, sample_max_value=1.5, dynamic_thresholding_ratio=0.9)
    yield dict(SD, eta=1.0, clip_sample=False)
    yield dict(SD, eta=0.5, use_clipped_model_output=True)


def ddim_parallel():
    """Another name of DDIM where one sample at a time is stepped."""
    yield {}
    yield ZERO_SNR
    yield dict(SD, eta=0.5, use_clipped_model_output=True)


def pndm():
    yield from over_alphas(skip_prk_steps=True)
    yield dict(SD, set_alpha_to_one=True)
    yield dict(SD, prediction_type="v_prediction", timestep_spacing="trailing")


def ipndm():
    yield {}
    yield {"trained_betas": [1.0, 0.95, 0.8, 0.55, 0.3, 0.12, 0.0]}
    yield {"trained_betas": [0.9, 0.4, 0.1], "num_train_timesteps": 50}


def sigmoid_betas(tensors):
    """DDPM's own, which other classes take here too."""
    scheduler = diffusers.DDPMScheduler(beta_schedule="sigmoid", num_train_timesteps=50)
    tensors["sigmoid_betas"] = scheduler.betas.numpy()


CLASSES = {
    "DDIMScheduler": Class(ddim, extra=sigmoid_betas),
    "DDIMParallelScheduler": Class(ddim_parallel),
    "IPNDMScheduler": Class(ipndm),
    "PNDMScheduler": Class(pndm),
}
