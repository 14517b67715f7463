"""Schedulers of Karras et al. 2022's parameterisation."""

from common import Class


def over_edm():
    """What every class of the group has."""
    yield {}
    for schedule in ("karras", "exponential"):
        for prediction in ("epsilon", "v_prediction"):
            yield {"sigma_schedule": schedule, "prediction_type": prediction, "sigma_max": 120.0,
                   "sigma_min": 0.01}
    yield {"rho": 5.0, "sigma_data": 1.0, "sigma_schedule": "karras"}


def edm_euler():
    yield from over_edm()
    yield {"final_sigmas_type": "sigma_min"}
    yield {"s_churn": 5.0, "s_tmin": 0.3, "s_tmax": 10.0, "s_noise": 1.1}
    yield {"num_train_timesteps": 20}


CLASSES = {
    "EDMEulerScheduler": Class(edm_euler),
}
