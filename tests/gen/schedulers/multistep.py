"""Solvers over past model outputs."""

import numpy as np
import torch
from common import RAMPS, SD, SPACINGS, TRAINED, ZERO_SNR, Class, run_levels, run_steps
from sigma import over_sigmas

COSINE = {"beta_schedule": "squaredcos_cap_v2"}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def dpmsolver_multistep():
    yield from over_sigmas()
    for ramp in RAMPS:
        yield dict(SD, sigma_min=0.05, sigma_max=12.5, **{ramp: True})
    for algorithm in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"):
        final = "zero" if algorithm.endswith("++") else "sigma_min"
        common = dict(SD, algorithm_type=algorithm, final_sigmas_type=final)
        for order in (1, 2, 3):
            for solver in ("midpoint", "heun"):
                known = (algorithm, order) != ("sde-dpmsolver", 3)
                if known and (order == 2 or solver == "midpoint"):
                    yield dict(common, solver_order=order, solver_type=solver)
        yield dict(common, prediction_type="v_prediction", thresholding=True, sample_max_value=2)
        yield dict(common, prediction_type="sample", lower_order_final=False)
    for base in (SD, COSINE):
        for ramp in (*RAMPS, "use_lu_lambdas"):
            yield dict(base, **{ramp: True})
    for spacing in SPACINGS:
        yield dict(COSINE, lambda_min_clipped=-5.1, timestep_spacing=spacing)
    yield ZERO_SNR
    yield dict(SD, final_sigmas_type="sigma_min", solver_order=3, lower_order_final=False)
    yield dict(SD, final_sigmas_type="sigma_min", euler_at_final=True)
    yield dict(SD, solver_type="bh2", final_sigmas_type="sigma_min", algorithm_type="deis")
    yield FLOW
    yield dict(FLOW, flow_shift=3.0, solver_order=3)
    yield dict(FLOW, use_dynamic_shifting=True, mu=1.15)
    yield dict(SD, variance_type="learned")
    yield dict(SD, variance_type="learned_range", algorithm_type="sde-dpmsolver",
               final_sigmas_type="sigma_min")
    yield dict(SD, variance_type="learned", prediction_type="v_prediction")
    yield dict(SD, variance_type="fixed_small")
    yield dict(SD, timesteps=[999, 800, 500, 201, 3], solver_order=3)
    yield dict(SD, timesteps=[981, 600, 20], algorithm_type="sde-dpmsolver++")
    yield dict(SD, prediction_type="flow_prediction")


def over_predictions(flow={}, **more):
    """What the classes that take each prediction, thresholding and flow matching have."""
    yield dict(SD, prediction_type="sample", **more)
    yield dict(SD, prediction_type="flow_prediction", **more)
    yield dict(SD, thresholding=True, sample_max_value=1.5, dynamic_thresholding_ratio=0.9, **more)
    yield dict(SD, prediction_type="v_prediction", thresholding=True, sample_max_value=2, **more)
    yield dict(FLOW, **more)
    yield dict(FLOW, flow_shift=3.0, solver_order=3, **flow, **more)


def over_ramps(cosine={"prediction_type": "v_prediction"}, **more):
    """Each spacing of sigmas of the solvers over lambda. cosine: with squaredcos betas, whose sigma
    of 2e4 makes f32 lose up to 1e-4 in solvers that convert the output there."""
    for base in (SD, COSINE | cosine):
        for ramp in RAMPS:
            yield dict(base, **{ramp: True}, **more)
    for ramp in RAMPS:
        yield dict(SD, sigma_min=0.05, sigma_max=12.5, **{ramp: True}, **more)


def unipc_multistep():
    yield from over_sigmas()
    yield from over_predictions()
    yield from over_ramps()
    yield from over_ramps(final_sigmas_type="sigma_min")
    ends = {"final_sigmas_type": "sigma_min"}
    for order in (1, 2, 3):
        for solver in ("bh1", "bh2"):
            for predict_x0 in (True, False):
                yield dict(SD, solver_order=order, solver_type=solver, predict_x0=predict_x0, **ends)
        yield dict(SD, solver_order=order, lower_order_final=False, **ends)
        yield dict(SD, solver_order=order)
    yield dict(SD, predict_x0=False, prediction_type="sample", **ends)
    yield dict(SD, predict_x0=False, prediction_type="v_prediction", thresholding=True, **ends)
    yield ZERO_SNR
    yield dict(ZERO_SNR, solver_order=3)
    yield dict(SD, solver_type="heun", disable_corrector=[0, 1, 3])
    yield dict(SD, solver_order=3, disable_corrector=[0], lower_order_final=False, **ends)
    yield dict(SD, solver_order=1, lower_order_final=False)
    yield dict(FLOW, flow_shift=3.0, solver_type="bh1", **ends)
    yield dict(FLOW, flow_shift=5.0, shift_terminal=0.1)
    yield dict(FLOW, use_dynamic_shifting=True, mu=1.15)
    yield dict(FLOW, use_dynamic_shifting=True, mu=2.5, time_shift_type="linear", shift_terminal=0.02)
    yield dict(FLOW, use_karras_sigmas=True)
    yield dict(FLOW, use_karras_sigmas=True, solver_order=3, **ends)
    yield dict(FLOW, sigmas=np.array([1, 0.875, 0.5, 0.25, 0.125]), flow_shift=3.0)
    yield dict(FLOW, sigmas=np.array([0.9375, 0.5, 0.25]), use_dynamic_shifting=True, mu=0.5,
               solver_order=3)


def run_in_double(scheduler, case, draw):
    """Where coefficients cancel in diffusers' f32, the same code in f64 from the levels in f32. 33
    and 50 steps show it: DEIS of order 3 is off by 1e-5 and 5e-5, with beta sigmas order 2 by 4e-5;
    SA-Solver of order 3 by 2e-5 and 3e-5, of order 4 by 2e-4 and 5e-4."""
    keys = ("solver_order", "predictor_order", "corrector_order")
    if any(case.own.get(k, 0) > 2 for k in keys) or case.own.get("use_beta_sigmas"):
        single = scheduler._sigma_to_alpha_sigma_t
        scheduler._sigma_to_alpha_sigma_t = lambda sigma: [v.double() for v in single(sigma)]
        return run_steps(scheduler, case, draw, torch.float64)
    return run_steps(scheduler, case, draw)


def levels_of_unique(scheduler, case, n):
    """The class looks calls up by their timesteps, and takes the second one of two."""
    scaled, noised = run_levels(scheduler, case, n)
    t = scheduler.timesteps
    return [scaled, noised if (t == t[len(t) // 2]).sum() == 1 else noised * float("nan")]


def deis_multistep():
    yield from over_sigmas()
    # of 1000 timesteps the first alpha is 3e-4, and f32 loses 8e-5 of the noise to it
    yield from over_predictions(flow={"num_train_timesteps": 50})
    yield from over_ramps(cosine={})
    for order in (1, 2, 3):
        yield dict(SD, solver_order=order)
        yield dict(SD, solver_order=order, lower_order_final=False)
        yield dict(SD, solver_order=order, use_karras_sigmas=True)
    yield dict(SD, algorithm_type="dpmsolver++", solver_type="heun")
    yield dict(FLOW, use_dynamic_shifting=True, mu=1.15)


def dpmsolver_singlestep():
    yield {}
    yield dict(COSINE, prediction_type="v_prediction")
    yield TRAINED
    yield from over_predictions()
    yield from over_ramps()
    yield from over_ramps(final_sigmas_type="sigma_min", solver_order=3, lower_order_final=True)
    for algorithm in ("dpmsolver", "dpmsolver++", "sde-dpmsolver++"):
        common = dict(SD, algorithm_type=algorithm, final_sigmas_type="sigma_min")
        for order in (1, 2, 3):
            for solver in ("midpoint", "heun"):
                yield dict(common, solver_order=order, solver_type=solver)
            yield dict(common, solver_order=order, lower_order_final=True)
            if algorithm.endswith("++"):
                yield dict(common, solver_order=order, final_sigmas_type="zero")
        yield dict(common, prediction_type="sample")
        yield dict(common, prediction_type="v_prediction", variance_type="learned")
    yield dict(SD, solver_type="bh2", final_sigmas_type="sigma_min", algorithm_type="deis")
    yield dict(COSINE, lambda_min_clipped=-5.1)
    yield dict(FLOW, use_dynamic_shifting=True, mu=1.15)
    yield dict(SD, variance_type="learned_range")
    yield dict(SD, timesteps=[999, 800, 500, 201, 3], solver_order=3)
    yield dict(SD, timesteps=[981, 600, 300, 20], algorithm_type="sde-dpmsolver++",
               final_sigmas_type="sigma_min")


def dpmsolver_multistep_inverse():
    yield from over_sigmas()
    yield from over_predictions()
    yield from over_ramps(cosine={"algorithm_type": "dpmsolver"})
    for algorithm in ("dpmsolver", "dpmsolver++"):
        for order in (1, 2, 3):
            for solver in ("midpoint", "heun"):
                yield dict(SD, algorithm_type=algorithm, solver_order=order, solver_type=solver)
            yield dict(SD, algorithm_type=algorithm, solver_order=order, lower_order_final=False)
        yield dict(SD, algorithm_type=algorithm, prediction_type="sample")
        yield dict(SD, algorithm_type=algorithm, prediction_type="v_prediction", thresholding=True)
    yield dict(SD, solver_order=3, euler_at_final=True, use_karras_sigmas=True)
    yield dict(SD, solver_type="bh2", algorithm_type="deis")
    for spacing in SPACINGS:
        yield dict(COSINE, lambda_min_clipped=-5.1, timestep_spacing=spacing)
    for algorithm in ("sde-dpmsolver++", "sde-dpmsolver"):
        more = {"prediction_type": "epsilon"} if algorithm == "sde-dpmsolver" else {}
        yield dict(FLOW, algorithm_type=algorithm, **more)
    yield dict(SD, variance_type="learned")


def sasolver():
    yield from over_sigmas()
    yield from over_predictions()
    yield from over_ramps()
    for algorithm in ("data_prediction", "noise_prediction"):
        common = dict(SD, algorithm_type=algorithm)
        for predictor in (1, 2, 3, 4):
            for corrector in (1, 2, 3, 4):
                yield dict(common, predictor_order=predictor, corrector_order=corrector)
        yield dict(common, lower_order_final=False)
        yield dict(common, lower_order_final=False, predictor_order=3, corrector_order=4)
        yield dict(common, prediction_type="sample")
        yield dict(common, prediction_type="v_prediction", variance_type="learned")
        yield dict(common, variance_type="fixed_small")
    for spacing in SPACINGS:
        yield dict(COSINE, lambda_min_clipped=-5.1, timestep_spacing=spacing)


CLASSES = {
    "DEISMultistepScheduler": Class(deis_multistep, steps=run_in_double),
    "DPMSolverMultistepInverseScheduler": Class(dpmsolver_multistep_inverse, levels=levels_of_unique),
    "DPMSolverMultistepScheduler": Class(dpmsolver_multistep),
    "DPMSolverSinglestepScheduler": Class(dpmsolver_singlestep),
    "SASolverScheduler": Class(sasolver, steps=run_in_double),
    "UniPCMultistepScheduler": Class(unipc_multistep),
}
