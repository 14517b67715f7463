"""Schedulers over sigmas of one step: Euler, Heun, the second-order ones and their like."""

import diffusers
import numpy as np
from common import RAMPS, SD, SPACINGS, TRAINED, ZERO_SNR, Class, run_seeded

AYS = diffusers.schedulers.AysSchedules


def over_sigmas():
    """What every class of the group has."""
    for spacing in SPACINGS:
        for offset in (0, 1):
            yield dict(SD, timestep_spacing=spacing, steps_offset=offset)
    yield {}
    yield {"beta_schedule": "squaredcos_cap_v2"}
    yield dict(SD, prediction_type="v_prediction")
    yield TRAINED


def over_ramps():
    """What every class of the group with ramps has; sigma_min and sigma_max are other classes'."""
    for ramp in RAMPS:
        for spacing in SPACINGS:
            yield dict(SD, timestep_spacing=spacing, **{ramp: True})
        yield dict(SD, sigma_min=0.05, sigma_max=12.5, **{ramp: True})


def euler():
    yield from over_sigmas()
    yield ZERO_SNR
    yield from over_ramps()
    yield dict(SD, interpolation_type="log_linear")
    yield dict(SD, interpolation_type="log_linear", use_karras_sigmas=True)
    yield dict(SD, final_sigmas_type="sigma_min")
    yield dict(SD, prediction_type="sample")
    yield dict(SD, prediction_type="original_sample")
    continuous = dict(SD, timestep_type="continuous")
    yield continuous
    yield dict(continuous, prediction_type="v_prediction")
    yield dict(continuous, prediction_type="v_prediction", use_karras_sigmas=True)
    yield dict(continuous, prediction_type="v_prediction", interpolation_type="log_linear")
    yield dict(SD, s_churn=5.0, s_tmin=0.3, s_tmax=10.0, s_noise=1.1)
    yield dict(SD, timesteps=[999, 800, 500.5, 201, 3])
    yield dict(SD, timesteps=[981, 600, 20], timestep_spacing="leading", steps_offset=1,
               final_sigmas_type="sigma_min")
    yield dict(SD, timesteps=[700, 100], interpolation_type="log_linear")
    yield dict(SD, sigmas=[14.6, 6.3, 2.5, 0.9, 0.1, 0.0])
    yield dict(SD, sigmas=[9.0, 1.5, 0.25], use_karras_sigmas=True, timestep_spacing="leading")
    yield dict(continuous, sigmas=[14.0, 3.0, 0.5, 0.0], prediction_type="v_prediction")
    for name, values in AYS.items():
        yield dict(SD, **{"timesteps" if name.endswith("Timesteps") else "sigmas": values})


def ays_lists(tensors):
    for name, values in AYS.items():
        tensors[name] = np.array(values, np.float32)


def euler_ancestral():
    yield from over_sigmas()
    yield ZERO_SNR


def lms():
    yield from over_sigmas()
    yield from over_ramps()
    yield dict(SD, prediction_type="sample")
    for order in (1, 2, 3, 6):
        yield dict(SD, order=order)


def heun():
    yield from over_sigmas()
    yield from over_ramps()
    yield {"beta_schedule": "exp"}
    yield dict(SD, prediction_type="sample", use_karras_sigmas=True)
    yield dict(SD, clip_sample=True)
    yield dict(SD, clip_sample=True, clip_sample_range=0.6, prediction_type="v_prediction")
    yield dict(SD, timesteps=[999, 800, 500.5, 201, 3])
    yield dict(SD, timesteps=[981, 600, 20], timestep_spacing="leading")


def kdpm2():
    yield from over_sigmas()
    yield from over_ramps()
    yield dict(SD, prediction_type="v_prediction", use_karras_sigmas=True)


def dpmsolver_sde():
    yield from over_sigmas()  # noise_sampler_seed null: the global generator's next number
    yield from over_ramps()
    for seed in (0, 42, 2**32 - 1, 2**40 + 5):
        yield dict(SD, noise_sampler_seed=seed, use_karras_sigmas=True)
    yield dict(SD, noise_sampler_seed=3, s_noise=0.7, prediction_type="v_prediction")


CLASSES = {
    "DPMSolverSDEScheduler": Class(dpmsolver_sde, steps=run_seeded, exact=True),
    "EulerAncestralDiscreteScheduler": Class(euler_ancestral),
    "EulerDiscreteScheduler": Class(euler, extra=ays_lists),
    "HeunDiscreteScheduler": Class(heun),
    "KDPM2AncestralDiscreteScheduler": Class(kdpm2, exact=True),
    "KDPM2DiscreteScheduler": Class(kdpm2),
    "LMSDiscreteScheduler": Class(lms),
}
