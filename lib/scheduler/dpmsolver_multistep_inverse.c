/* dpmsolver_multistep_inverse.c - DPM-Solver++ from a sample to the noise that it comes from, for
 * editing (Lu et al. 2022; Mokady et al. 2022). */
#include "scheduler/lambda.h"

#include "core/status.h"

static dfx_status init(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    c->final_sigmas_type = DFX__FINAL_SIGMA_MIN; /* the class has no such key: it ends in noise */
    if (dfx__dpm_is_sde(c) && c->solver_order == 3)
        return dfx__refuse(s, "the sde algorithms have no solver_order 3");
    return dfx__dpm_init(s);
}

/* The lowest s->steps timesteps of one more, rising. */
static void select_timesteps(const dfx_scheduler *s, dfx__schedule *out, int last)
{
    const dfx__scheduler_config *c = &s->config;
    double *t = out->timesteps;
    int n = s->steps;
    out->calls = n;
    if (c->timestep_spacing == DFX__TRAILING) {
        out->calls = dfx__space_timesteps(s, last, n, t);
        dfx__reverse(t, out->calls);
    }
    for (int i = 0; i < n && c->timestep_spacing == DFX__LINSPACE; i++)
        t[i] = dfx__linspace(0, last - 1, n + 1, i);
    for (int i = 0; i < n && c->timestep_spacing == DFX__LEADING; i++)
        t[i] = (double)i * (last / (n + 1)) + c->steps_offset;
    dfx__round_all(t, out->calls);
}

/* Drops timesteps that stand twice, as diffusers: the sigmas stay, so those behind such a one
 * belong to other timesteps. Timesteps that are the same only when they are cut off stay; where the
 * first two are, diffusers starts at the second one and runs out of sigmas at the end. */
static int drop_repeated(double *t, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (kept == 0 || t[i] != t[kept - 1])
            t[kept++] = t[i];
    return kept;
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    dfx__ramp ramp = dfx__which_ramp(&s->config);
    int last;
    DFX__TRY(dfx__count_unclipped(s, &last));
    select_timesteps(s, out, last);
    if (ramp == DFX__NO_RAMP) {
        for (int i = 0; i < out->calls; i++)
            out->sigmas[i] = dfx__sigma_at(s, out->timesteps[i]);
    } else { /* rising but for flow matching's, of which diffusers has the usual ones */
        out->calls = s->steps;
        dfx__ramp_sigmas(s, ramp, s->train_sigmas[0], s->train_sigmas[s->train - 1], out->calls,
                         out->sigmas);
        dfx__ramp_timesteps(s, out, 1);
    }
    int calls = drop_repeated(out->timesteps, out->calls);
    DFX__TRY(dfx__end_lambda(
        s, out, ramp == DFX__NO_RAMP ? s->train_sigmas[last - 1] : out->sigmas[out->calls - 1]));
    out->calls = calls;
    if (dfx__dpm_is_sde(&s->config) && out->sigmas[1] > out->sigmas[0])
        return dfx__refuse(s, "the sde algorithms cannot go towards noise: choose dpmsolver++");
    return dfx__dpm_check_end(s, out);
}

static const dfx_scheduler_name names[] = {
    { "dpmpp_2m_inverse", "algorithm_type=dpmsolver++,solver_order=2" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__dpmsolver_multistep_inverse = {
    .class_name = "DPMSolverMultistepInverseScheduler",
    .names = names,
    .when = "from a picture to the noise that dpmpp_2m draws it from",
    .keys = DFX__BETA_KEYS DFX__THRESHOLD_KEYS DFX__SIGMA_KEYS DFX__FLOW_SIGMA_KEYS
    "solver_order=2,algorithm_type=dpmsolver++,solver_type=midpoint,lower_order_final=true,"
    "euler_at_final=false,lambda_min_clipped=-Infinity,variance_type=null,"
    "timestep_spacing=linspace,",
    .call_keys = "",
    .predictions = DFX__LAMBDA_PREDICTIONS,
    .algorithms = 1 << DFX__DPMSOLVER | 1 << DFX__DPMSOLVER_PP | 1 << DFX__SDE_DPMSOLVER |
                  1 << DFX__SDE_DPMSOLVER_PP | 1 << DFX__DEIS,
    .variance = DFX__DROPS_VARIANCE,
    .init = init,
    .plan = plan,
    .step = dfx__dpm_multistep,
    .noise_level = dfx__lambda_noise_level,
};
