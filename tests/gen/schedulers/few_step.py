"""Schedulers of distilled models, and samplers that no other group has."""

import torch
from common import SD, SHAPE, SPACINGS, TRAINED, ZERO_SNR, Class, output, sample


def distilled():
    """What LCM and TCD have."""
    yield {}
    for spacing in SPACINGS[1:]:
        yield dict(timestep_spacing=spacing, steps_offset=1)
    yield {"beta_schedule": "squaredcos_cap_v2"}
    yield {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
    yield {"prediction_type": "v_prediction"}
    yield {"prediction_type": "sample", "set_alpha_to_one": False}
    yield ZERO_SNR
    yield TRAINED
    for steps in (7, 20, 33, 100, 1000):
        yield {"original_inference_steps": steps}
    yield {"clip_sample": True, "clip_sample_range": 0.7}
    yield {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9}
    for strength in (0.61, 0.25, 1.0):
        yield {"strength": strength}
    yield {"timesteps": [999, 739, 499, 259]}
    yield {"timesteps": [900, 500, 100], "original_inference_steps": 2}
    yield {"timesteps": [999, 739, 499, 259], "strength": 0.6}


def lcm():
    yield from distilled()
    yield {"timestep_scaling": 0.01}


def tcd():
    yield from distilled()
    for eta in (0.0, 0.15, 0.7, 1.0):
        yield {"eta": eta}
    yield {"eta": 0.5, "timesteps": [999, 739, 499, 259], "strength": 0.6}


def cm():
    yield {}
    yield {"clip_denoised": False}
    yield {"sigma_min": 0.01, "sigma_max": 50.0, "sigma_data": 1.5, "rho": 5.0, "s_noise": 1.1}
    yield {"num_train_timesteps": 200, "clip_denoised": False, "sigma_min": 0.05}
    yield {"num_train_timesteps": 201, "timesteps": [106, 0]}
    yield {"timesteps": [39, 22, 0], "clip_denoised": False}
    yield {"timesteps": [22]}


def scm():
    yield {}
    yield {"max_timesteps": 1.5, "intermediate_timesteps": 0.9, "sigma_data": 1.0}
    yield {"intermediate_timesteps": None}
    yield {"intermediate_timesteps": None, "max_timesteps": 1.56454, "sigma_data": 0.8}
    for times in ([1.5708, 1.0, 0.3, 0.0], [1.5, 0.2]):
        yield {"timesteps": times, "num_inference_steps": len(times) - 1, "max_timesteps": None,
               "intermediate_timesteps": None}


def scm_steps(scheduler, case, draw):
    """The last timestep is where the last step ends: pipelines make no call there."""
    x, samples = sample(), []
    for i, t in enumerate(scheduler.timesteps[:-1]):
        draw.start(i)
        x = scheduler.step(output(i), t, x).prev_sample
        samples.append(x)
    return samples


def no_noise(scheduler, case, n):
    """A class without add_noise, which takes the sample as it is."""
    return [sample(), torch.full(SHAPE, float("nan"))]


CLASSES = {
    "CMStochasticIterativeScheduler": Class(cm),
    "LCMScheduler": Class(lcm),
    "SCMScheduler": Class(scm, steps=scm_steps, levels=no_noise,
                          times=lambda scheduler: scheduler.timesteps[:-1]),
    "TCDScheduler": Class(tcd),
}
