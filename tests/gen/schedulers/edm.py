"""Schedulers of Karras et al. 2022's parameterisation."""

from common import Class, run_seeded


def over_edm():
    """What every class of the group has."""
    yield {}
    for schedule in ("karras", "exponential"):
        for prediction in ("epsilon", "v_prediction"):
            yield {"sigma_schedule": schedule, "prediction_type": prediction, "sigma_max": 120.0,
                   "sigma_min": 0.02}
    yield {"rho": 5.0, "sigma_data": 0.7, "sigma_schedule": "karras", "sigma_min": 0.03}


def edm_euler():
    yield from over_edm()
    yield {"final_sigmas_type": "sigma_min"}
    yield {"s_churn": 5.0, "s_tmin": 0.3, "s_tmax": 10.0, "s_noise": 1.1}
    yield {"num_train_timesteps": 20}


def cosine_dpmsolver_multistep():
    yield from over_edm()
    yield {"solver_order": 1}
    for schedule in ("karras", "exponential"):
        yield {"solver_type": "heun", "sigma_schedule": schedule}
    yield {"solver_type": "bh1", "prediction_type": "epsilon"}
    yield {"lower_order_final": False, "euler_at_final": True}
    yield {"sigma_max": 80.0, "sigma_min": 0.05, "sigma_data": 0.5, "solver_type": "heun"}


def edm_dpmsolver_multistep():
    yield from over_edm()
    for final in ("zero", "sigma_min"):
        for order in (1, 2, 3):
            for solver in ("midpoint", "heun"):
                yield {"solver_order": order, "solver_type": solver, "final_sigmas_type": final}
        yield {"solver_order": 3, "lower_order_final": False, "final_sigmas_type": final}
        for solver in ("midpoint", "heun"):
            yield {"algorithm_type": "sde-dpmsolver++", "solver_type": solver,
                   "final_sigmas_type": final}
    yield {"solver_order": 1, "algorithm_type": "sde-dpmsolver++"}
    yield {"final_sigmas_type": "sigma_min", "euler_at_final": True}
    yield {"final_sigmas_type": "sigma_min", "algorithm_type": "deis", "solver_type": "bh1"}
    yield {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9}


CLASSES = {
    "CosineDPMSolverMultistepScheduler": Class(cosine_dpmsolver_multistep, steps=run_seeded,
                                               exact=True),
    "EDMDPMSolverMultistepScheduler": Class(edm_dpmsolver_multistep),
    "EDMEulerScheduler": Class(edm_euler),
}
