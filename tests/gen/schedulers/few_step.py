"""Schedulers of distilled models, and samplers that no other group has."""

from common import SPACINGS, TRAINED, ZERO_SNR, Class, no_noise, output, pseudo, sample


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


def score_sde_ve():
    yield {}
    yield {"snr": 0.075, "correct_steps": 2, "sampling_eps": 0.001}
    yield {"sigma_min": 0.05, "sigma_max": 50.0, "correct_steps": 0}


def score_sde_ve_each(scheduler, values):
    """For each call: corrections, then a prediction."""
    return values.repeat_interleave(scheduler.config.correct_steps + 1)


def score_sde_ve_steps(scheduler, case, draw):
    """As the pipeline does it; the last sample is the mean, which is its picture."""
    x, samples = sample(), []
    scheduler.set_sigmas(len(scheduler.timesteps))
    for t in scheduler.timesteps:
        for _ in range(scheduler.config.correct_steps):
            draw.start(len(samples))
            x = scheduler.step_correct(output(len(samples)), x).prev_sample
            samples.append(x)
        draw.start(len(samples))
        out = scheduler.step_pred(output(len(samples)), t, x)
        x = out.prev_sample
        samples.append(x)
    samples[-1] = out.prev_sample_mean
    return samples


def score_sde_ve_levels(scheduler, case, n):
    times = score_sde_ve_each(scheduler, scheduler.timesteps)
    place = (times[len(times) // 2] * (n - 1)).long()  # as step_pred has it
    return [sample(), scheduler.add_noise(sample(), pseudo(4, 0), place[None])]


CLASSES = {
    "CMStochasticIterativeScheduler": Class(cm),
    "LCMScheduler": Class(lcm),
    "SCMScheduler": Class(scm, steps=scm_steps, levels=no_noise,
                          times=lambda scheduler: scheduler.timesteps[:-1]),
    "ScoreSdeVeScheduler": Class(score_sde_ve, score_sde_ve_steps, score_sde_ve_levels,
                                 sigmas=lambda s: score_sde_ve_each(s, s.sigmas),
                                 times=lambda s: score_sde_ve_each(s, s.timesteps)),
    "TCDScheduler": Class(tcd),
}
