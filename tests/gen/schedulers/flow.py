"""Schedulers of flow matching."""

import common
import numpy as np
from common import RAMPS, Class

DYNAMIC = {"use_dynamic_shifting": True}
FLUX = np.linspace(1, 1 / 6, 6).tolist()


def run_steps(scheduler, case, draw):
    """diffusers divides 0 by 0 when shift_terminal stretches a single step."""
    if not scheduler.sigmas.isfinite().all():
        raise ValueError("sigmas are not finite")
    return common.run_steps(scheduler, case, draw)


def shifted():
    """What Euler and LCM have."""
    yield {}
    for shift in (0.4, 1.7, 3.0, 12.0):
        yield {"shift": shift}
    yield {"num_train_timesteps": 700, "shift": 2.5}
    for kind in ("exponential", "linear"):
        for mu in (0.5, 1.15, 3.2):
            yield dict(DYNAMIC, time_shift_type=kind, mu=mu)
    yield dict(DYNAMIC, mu=-0.7, shift=3.0)
    yield dict(DYNAMIC, mu=0.8, shift_terminal=0.02)
    yield {"shift": 3.0, "shift_terminal": 0.1}
    yield {"shift_terminal": 0.0}
    yield {"invert_sigmas": True, "shift": 3.0}
    for ramp in RAMPS:
        yield {ramp: True}
        yield {ramp: True, "shift": 3.0}
        yield dict(DYNAMIC, mu=1.15, shift_terminal=0.02, **{ramp: True})
        yield {ramp: True, "sigma_min": 0.03, "sigma_max": 0.97}
        yield {ramp: True, "invert_sigmas": True}
    yield {"sigmas": FLUX}
    yield {"sigmas": FLUX, "shift": 3.0}
    yield {"sigmas": [1.0, 0.9, 0.0], "shift": 1.7}
    for kind in ("exponential", "linear"):
        yield dict(DYNAMIC, mu=1.15, sigmas=FLUX, time_shift_type=kind)
        yield dict(DYNAMIC, mu=0.6, sigmas=[0.9, 0.5, 0.0], time_shift_type=kind)
    yield dict(DYNAMIC, mu=0.9, sigmas=FLUX, shift_terminal=0.02)
    yield dict(DYNAMIC, mu=0.9, sigmas=FLUX, use_beta_sigmas=True)
    yield {"sigmas": FLUX, "invert_sigmas": True}
    yield {"timesteps": [1000.0, 811.5, 500.0, 33.3], "shift": 3.0}
    yield {"timesteps": [990.0, 400.0, 7.0], "use_karras_sigmas": True}
    yield {"timesteps": [990.0, 400.0, 7.0], "invert_sigmas": True}
    yield {"timesteps": [1000.0, 700.0, 400.0], "sigmas": [1.0, 0.6, 0.25], "shift": 1.7}
    yield dict(DYNAMIC, mu=1.15, timesteps=[1000.0, 700.0, 400.0], sigmas=[1.0, 0.6, 0.25])


def euler():
    yield from shifted()
    yield {"stochastic_sampling": True}
    yield dict(DYNAMIC, mu=1.15, stochastic_sampling=True)
    yield {"stochastic_sampling": True, "invert_sigmas": True}
    yield {"base_shift": None, "max_shift": None, "base_image_seq_len": 100}


def lcm():
    yield from shifted()
    yield {"upscale_mode": "area"}


def heun():
    for shift in (1.0, 0.4, 1.7, 3.0):
        yield {"shift": shift}
    yield {"num_train_timesteps": 700, "shift": 2.5}
    yield {"shift": 3.0, "s_churn": 5.0, "s_tmin": 0.1, "s_tmax": 0.9, "s_noise": 1.1}
    yield {"s_churn": 0.3}


def flow_map():
    for shift in (1.0, 0.4, 1.7, 5.0):
        yield {"shift": shift}
    yield {"num_train_timesteps": 700, "shift": 2.5}
    yield {"sigmas": [1.0, 0.625, 0.25], "shift": 3.0}
    yield {"timesteps": [1000.0, 625.0, 250.0], "shift": 3.0}
    yield {"timesteps": [1000.0, 625.0, 250.0], "sigmas": [1.0, 0.5, 0.125]}


CLASSES = {
    "FlowMapEulerDiscreteScheduler": Class(flow_map),
    "FlowMatchEulerDiscreteScheduler": Class(euler, steps=run_steps),
    "FlowMatchHeunDiscreteScheduler": Class(heun),
    "FlowMatchLCMScheduler": Class(lcm, steps=run_steps),
}
