"""Makes tests/data/schedulers.safetensors: schedules and steps of diffusers' own schedulers.

A case NNN has "NNN.config", the scheduler_config.json, a newline, and the call's settings as
"key=value,..."; "NNN.counts" [k, 3], for each n that works n, the calls and the sigmas; and
"NNN.values", f32: for each n the timesteps, the sigmas, init_noise_sigma and the sample after the
last step, then for the largest n up to 7 the sample after each step, and of the first sample at the
middle call scale_model_input and add_noise. Samples are [2, 3, 2, 2]; they, the model's outputs and
the noise come from pseudo(), as in test_scheduler.c. "sigmoid_betas" are DDPM's.
"""

import json
import pathlib
import warnings

import diffusers
import numpy as np
import torch
from diffusers.schedulers import (
    scheduling_ddim,
    scheduling_dpmsolver_multistep,
    scheduling_euler_discrete,
)
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()

HERE = pathlib.Path(__file__).resolve().parent.parent / "data"
SHAPE = (2, 3, 2, 2)
STEPS = (1, 2, 5, 7, 20, 33, 50)
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DDIM, PNDM = "DDIMScheduler", "PNDMScheduler"
EULER, DPM = "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"
SPACINGS = ("linspace", "leading", "trailing")


def pseudo(stream, index):
    """Floats with 16 bits in -1..1: exact in f32, the same in Python and in C."""
    k = np.arange(np.prod(SHAPE), dtype=np.uint32)
    with np.errstate(over="ignore"):
        h = k * np.uint32(2654435761) + np.uint32(stream * 40503 % 2**32) * np.uint32(index + 1)
        h ^= h >> np.uint32(15)
        h *= np.uint32(2246822519)
        h ^= h >> np.uint32(13)
    return torch.from_numpy((h & np.uint32(0xFFFF)).astype(np.float32) / 32768 - 1).reshape(SHAPE)


def sample():
    return pseudo(1, 0) * 2


def output(i):
    """A model's output: mostly the same at each call, as those of a real model are."""
    return pseudo(2, 0) + pseudo(3, i) / 8


def noise(i):
    return pseudo(4, i)


class Noise:
    """Stands for randn_tensor in the schedulers."""

    step = 0

    def __call__(self, *args, **kwargs):
        return noise(self.step)


TRAINED = [round(b, 4) for b in np.linspace(0.001, 0.05, 100).tolist()]


def cases():
    for spacing in SPACINGS:
        for offset in (0, 1):
            yield DDIM, dict(SD, timestep_spacing=spacing, steps_offset=offset, clip_sample=False)
            yield PNDM, dict(SD, timestep_spacing=spacing, steps_offset=offset, skip_prk_steps=True)
            yield EULER, dict(SD, timestep_spacing=spacing, steps_offset=offset)
            yield DPM, dict(SD, timestep_spacing=spacing, steps_offset=offset)
    for name in (DDIM, PNDM, EULER, DPM):
        yield name, {}
        yield name, {"beta_schedule": "squaredcos_cap_v2"}
        yield name, dict(SD, prediction_type="v_prediction")
        yield name, {"num_train_timesteps": 100, "trained_betas": TRAINED}

    zero = dict(SD, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    trailing = dict(zero, timestep_spacing="trailing")
    yield DDIM, trailing
    yield DDIM, dict(SD, prediction_type="sample", set_alpha_to_one=False, clip_sample_range=0.7)
    yield DDIM, dict(SD, thresholding=True, sample_max_value=1.5, dynamic_thresholding_ratio=0.9)
    yield DDIM, dict(SD, eta=1.0, clip_sample=False)
    yield DDIM, dict(SD, eta=0.5, use_clipped_model_output=True)

    yield PNDM, dict(SD, set_alpha_to_one=True)
    yield PNDM, dict(SD, prediction_type="v_prediction", timestep_spacing="trailing")

    yield EULER, trailing
    for ramp in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"):
        for spacing in SPACINGS:
            yield EULER, dict(SD, timestep_spacing=spacing, **{ramp: True})
        yield EULER, dict(SD, sigma_min=0.05, sigma_max=12.5, **{ramp: True})
        yield DPM, dict(SD, sigma_min=0.05, sigma_max=12.5, **{ramp: True})
    yield EULER, dict(SD, interpolation_type="log_linear")
    yield EULER, dict(SD, interpolation_type="log_linear", use_karras_sigmas=True)
    yield EULER, dict(SD, final_sigmas_type="sigma_min")
    yield EULER, dict(SD, prediction_type="sample")
    yield EULER, dict(SD, prediction_type="original_sample")
    continuous = dict(SD, timestep_type="continuous")
    yield EULER, continuous
    yield EULER, dict(continuous, prediction_type="v_prediction")
    yield EULER, dict(continuous, prediction_type="v_prediction", use_karras_sigmas=True)
    yield EULER, dict(continuous, prediction_type="v_prediction", interpolation_type="log_linear")
    yield EULER, dict(SD, s_churn=5.0, s_tmin=0.3, s_tmax=10.0, s_noise=1.1)

    for algorithm in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"):
        final = "zero" if algorithm.endswith("++") else "sigma_min"
        common = dict(SD, algorithm_type=algorithm, final_sigmas_type=final)
        for order in (1, 2, 3):
            for solver in ("midpoint", "heun"):
                known = (algorithm, order) != ("sde-dpmsolver", 3)
                if known and (order == 2 or solver == "midpoint"):
                    yield DPM, dict(common, solver_order=order, solver_type=solver)
        yield DPM, dict(common, prediction_type="v_prediction", thresholding=True,
                        sample_max_value=2)
        yield DPM, dict(common, prediction_type="sample", lower_order_final=False)
    for base in (SD, {"beta_schedule": "squaredcos_cap_v2"}):
        for ramp in ("karras_sigmas", "lu_lambdas", "exponential_sigmas", "beta_sigmas"):
            yield DPM, dict(base, **{"use_" + ramp: True})
    for spacing in SPACINGS:
        yield DPM, {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1,
                    "timestep_spacing": spacing}
    yield DPM, trailing
    yield DPM, dict(SD, final_sigmas_type="sigma_min", solver_order=3, lower_order_final=False)
    yield DPM, dict(SD, final_sigmas_type="sigma_min", euler_at_final=True)
    yield DPM, dict(SD, solver_type="bh2", final_sigmas_type="sigma_min", algorithm_type="deis")
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    yield DPM, flow
    yield DPM, dict(flow, flow_shift=3.0, solver_order=3)
    yield DPM, dict(flow, use_dynamic_shifting=True, mu=1.15)


CALL_KEYS = ("eta", "use_clipped_model_output", "s_churn", "s_tmin", "s_tmax", "s_noise", "mu")


def run(scheduler, n, call, draw):
    """The samples after each step; the first sample scaled and noised as at the middle call."""
    mu = {"mu": call["mu"]} if "mu" in call else {}
    scheduler.set_timesteps(n, **mu)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    x, samples = sample(), []
    extra = {k: v for k, v in call.items() if k != "mu"}
    for i, t in enumerate(scheduler.timesteps):
        draw.step = i
        scheduler.scale_model_input(x, t)
        x = scheduler.step(output(i), t, x, **extra).prev_sample
        samples.append(x)
    middle = len(samples) // 2
    scheduler.set_timesteps(n, **mu)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(middle)
    t = scheduler.timesteps[middle]
    noised = scheduler.add_noise(sample(), noise(0), t[None].to(torch.int64) if
                                 not hasattr(scheduler, "set_begin_index") else t[None])
    return samples, scheduler.scale_model_input(sample(), t), noised


def add_case(tensors, number, name, config):
    call = {k: config[k] for k in CALL_KEYS if k in config}
    own = {k: v for k, v in config.items() if k not in call}
    cls, draw = getattr(diffusers, name), Noise()
    for module in (scheduling_ddim, scheduling_euler_discrete, scheduling_dpmsolver_multistep):
        module.randn_tensor = draw
    counts, values = [], []
    for n in STEPS:
        scheduler = cls.from_config(dict(own, _class_name=name))
        if n > scheduler.config.num_train_timesteps:
            continue
        try:
            samples, scaled, noised = run(scheduler, n, call, draw)
        except (IndexError, ValueError):
            continue  # too few steps for Runge-Kutta, or a timestep beyond the last
        sigmas = scheduler.sigmas if name in (EULER, DPM) else torch.zeros(0)
        counts.append((n, len(scheduler.timesteps), len(sigmas)))
        initial = torch.tensor([float(scheduler.init_noise_sigma)])
        values += [scheduler.timesteps, sigmas, initial, samples[-1]]
        if n <= 7:
            traced = samples + [scaled, noised]
    text = json.dumps(dict(own, _class_name=name)) + "\n"
    text += ",".join(f"{k}={json.dumps(v)}" for k, v in call.items())
    tensors[f"{number:03d}.config"] = np.frombuffer(text.encode(), np.uint8)
    tensors[f"{number:03d}.counts"] = np.array(counts, np.int32)
    tensors[f"{number:03d}.values"] = np.concatenate(
        [v.to(torch.float32).flatten().numpy() for v in values + traced])


def main():
    tensors = {}
    for number, (name, config) in enumerate(cases()):
        add_case(tensors, number, name, config)
    betas = diffusers.DDPMScheduler(beta_schedule="sigmoid", num_train_timesteps=50).betas
    tensors["sigmoid_betas"] = betas.numpy()
    save_file(tensors, HERE / "schedulers.safetensors")


if __name__ == "__main__":
    main()
