"""Schedulers over alphas_cumprod, without sigmas."""

import diffusers
import torch
from common import SD, SPACINGS, TRAINED, ZERO_SNR, Class, no_noise, output, pseudo, sample


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


def ddim_inverse():
    for spacing in SPACINGS[1:]:
        for offset in (0, 1):
            yield dict(SD, timestep_spacing=spacing, steps_offset=offset, clip_sample=False)
    yield {}
    yield {"beta_schedule": "squaredcos_cap_v2"}
    yield dict(SD, prediction_type="v_prediction", clip_sample_range=0.7)
    yield TRAINED
    yield ZERO_SNR
    yield dict(SD, prediction_type="sample", set_alpha_to_one=False)
    yield dict(SD, set_alpha_to_one=True, set_alpha_to_zero=False, clip_sample=False)


def ddpm():
    yield from over_alphas(clip_sample=False)
    yield ZERO_SNR
    yield dict(SD, prediction_type="sample", clip_sample_range=0.7)
    yield dict(SD, thresholding=True, sample_max_value=1.5, dynamic_thresholding_ratio=0.9)
    for variance in ("fixed_small_log", "fixed_large", "learned", "learned_range", None):
        yield dict(SD, variance_type=variance, clip_sample=False)
        yield dict(SD, variance_type=variance, prediction_type="v_prediction",
                   timestep_spacing="trailing")
    yield dict(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True,
               sample_max_value=1.5, dynamic_thresholding_ratio=0.95)
    yield dict(SD, timesteps=[999, 800, 500, 201, 3], clip_sample=False)
    yield dict(SD, timesteps=[600, 20, 0], variance_type="learned_range")


def ddpm_parallel():
    """Another name of DDPM where one sample at a time is stepped."""
    yield {}
    yield ZERO_SNR
    yield dict(SD, variance_type="learned_range", clip_sample=False)


def pndm():
    yield from over_alphas(skip_prk_steps=True)
    yield dict(SD, set_alpha_to_one=True)
    yield dict(SD, prediction_type="v_prediction", timestep_spacing="trailing")


def cogvideox():
    for spacing in SPACINGS:
        for offset in (0, 1):
            yield dict(timestep_spacing=spacing, steps_offset=offset)
    yield dict(ZERO_SNR, snr_shift_scale=1.0)
    yield dict(ZERO_SNR, set_alpha_to_one=False)
    yield {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
    yield {"beta_schedule": "linear", "prediction_type": "v_prediction", "snr_shift_scale": 0.7,
           "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    yield {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"}
    yield {"set_alpha_to_one": False, "prediction_type": "sample"}
    yield dict(TRAINED, timestep_spacing="linspace")


def cogvideox_dpm_steps(scheduler, case, draw):
    """As the pipeline does it: x0 of the step before, and its timestep, go in again."""
    x, last, back, samples = sample(), None, None, []
    for i, t in enumerate(scheduler.timesteps):
        draw.start(i)
        x, last = scheduler.step(output(i), last, t, back, x)
        back = t
        samples.append(x)
    return samples


def repaint():
    yield {}
    yield dict(SD, clip_sample=False, eta=1.0)
    yield {"beta_schedule": "squaredcos_cap_v2", "eta": 0.4}
    yield {"beta_schedule": "sigmoid", "num_train_timesteps": 200}
    for length, samples in ((2, 2), (1, 3), (3, 1)):
        yield {"jump_length": length, "jump_n_sample": samples, "eta": 0.5}


def repaint_steps(scheduler, case, draw):
    """As the pipeline does it: where timesteps rise there is no call, but noise for the sample."""
    picture, mask = pseudo(1000, 0), pseudo(1001, 0) / 2 + 0.5
    x, samples, last = sample(), [], scheduler.timesteps[0] + 1
    for t in scheduler.timesteps:
        if t < last:
            draw.start(len(samples))
            x = scheduler.step(output(len(samples)), t, x, picture, mask).prev_sample
            samples.append(x)
        else:
            x = samples[-1] = scheduler.undo_step(x, last)
        last = t
    return samples


def repaint_times(scheduler):
    t = scheduler.timesteps
    return t[torch.cat([torch.tensor([True]), t[1:] < t[:-1]])]


def ipndm():
    yield {}
    yield {"trained_betas": [1.0, 0.95, 0.8, 0.55, 0.3, 0.12, 0.0]}
    yield {"trained_betas": [0.9, 0.4, 0.1], "num_train_timesteps": 50}


def sigmoid_betas(tensors):
    """DDPM's own, which other classes take here too."""
    scheduler = diffusers.DDPMScheduler(beta_schedule="sigmoid", num_train_timesteps=50)
    tensors["sigmoid_betas"] = scheduler.betas.numpy()


CLASSES = {
    "CogVideoXDDIMScheduler": Class(cogvideox),
    "CogVideoXDPMScheduler": Class(cogvideox, steps=cogvideox_dpm_steps, exact=True),
    "DDIMScheduler": Class(ddim, extra=sigmoid_betas),
    "DDIMInverseScheduler": Class(ddim_inverse),
    "DDIMParallelScheduler": Class(ddim_parallel),
    "DDPMParallelScheduler": Class(ddpm_parallel),
    "DDPMScheduler": Class(ddpm),
    "IPNDMScheduler": Class(ipndm),
    "PNDMScheduler": Class(pndm),
    "RePaintScheduler": Class(repaint, steps=repaint_steps, levels=no_noise, times=repaint_times,
                              exact=True),
}
