"""Solvers over past model outputs."""

import numpy as np
from common import RAMPS, SD, SPACINGS, ZERO_SNR, Class
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


def over_predictions(**more):
    """What the classes that take each prediction, thresholding and flow matching have."""
    yield dict(SD, prediction_type="sample", **more)
    yield dict(SD, prediction_type="flow_prediction", **more)
    yield dict(SD, thresholding=True, sample_max_value=1.5, dynamic_thresholding_ratio=0.9, **more)
    yield dict(SD, prediction_type="v_prediction", thresholding=True, sample_max_value=2, **more)
    yield dict(FLOW, **more)
    yield dict(FLOW, flow_shift=3.0, solver_order=3, **more)


def over_ramps(**more):
    """Each spacing of sigmas of the solvers over lambda."""
    for base in (SD, COSINE):
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


CLASSES = {
    "DPMSolverMultistepScheduler": Class(dpmsolver_multistep),
    "UniPCMultistepScheduler": Class(unipc_multistep),
}
