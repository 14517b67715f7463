/* unipc_multistep.c - UniPC, a predictor and a corrector of order 1 to 3 that cost no further model
 * calls (Zhao et al. 2023, arXiv 2302.04867). */
#include "scheduler/flow.h"
#include "scheduler/lambda.h"

#include "core/status.h"

#include <math.h>
#include <string.h>

enum { MAX_ORDER = 3 };

static dfx_status init(dfx_scheduler *s)
{
    dfx__scheduler_config *c = &s->config;
    if (!isnan(c->shift_terminal) && !c->use_flow_sigmas)
        return dfx__refuse(s, "shift_terminal needs use_flow_sigmas=true");
    if (!c->predict_x0) /* as diffusers */
        c->thresholding = 0;
    return dfx__init_lambda(s, c->predict_x0, "predict_x0=true");
}

/* Sigmas from 1 to 1 / T, or the caller's, shifted, and stretched to end at shift_terminal. */
static dfx_status flow_sigmas(const dfx_scheduler *s, double *sigmas, int n)
{
    const dfx__scheduler_config *c = &s->config;
    const double almost_1 = 1e-6, least = 1.0 / c->num_train_timesteps;
    for (int i = 0; i < n; i++) {
        double sigma = s->custom_sigmas ? s->custom_sigmas[i] : dfx__linspace(1, least, n + 1, i);
        sigmas[i] = c->use_dynamic_shifting ? dfx__shift_by_mu(c, sigma, 0)
                                            : dfx__shift_sigma(c->flow_shift, sigma, 0);
    }
    DFX__TRY(dfx__stretch_sigmas(c, sigmas, n, 0));
    if (fabs(sigmas[0] - 1) < almost_1) /* so that the logarithm of alpha is finite */
        sigmas[0] -= almost_1;
    return DFX_OK;
}

/* What ends in diffusers with values that are not numbers. */
static dfx_status check_last_step(const dfx_scheduler *s, const dfx__schedule *out, double last)
{
    const dfx__scheduler_config *c = &s->config;
    int order = c->lower_order_final || c->solver_order == 1 || out->calls == 1 ? 1 : 2;
    if (last == 0 && (c->solver_type == DFX__BH1 || !c->predict_x0))
        return dfx__refuse(s, "final_sigmas_type 'zero' needs solver_type bh2 and predict_x0=true; "
                              "choose 'sigma_min'");
    if (last == 0 && order > 1)
        return dfx__refuse(s, "final_sigmas_type 'zero' needs lower_order_final=true or "
                              "solver_order=1; choose 'sigma_min'");
    if (last == out->sigmas[out->calls - 1] && order > 1 && c->solver_order > 2 && out->calls > 2)
        return dfx__refuse(s, "the last sigma stands twice, which solver_order 3 does not take: "
                              "choose lower_order_final=true or solver_order=2");
    return DFX_OK;
}

static dfx_status plan(dfx_scheduler *s, dfx__schedule *out)
{
    const dfx__scheduler_config *c = &s->config;
    dfx__ramp ramp = dfx__which_ramp(c);
    if (c->use_dynamic_shifting && isnan(c->mu))
        return dfx__refuse(s, "use_dynamic_shifting=true needs mu");
    if (s->custom_sigmas && ramp != DFX__FLOW)
        return dfx__refuse(s, "takes sigmas of the caller's with use_flow_sigmas=true alone");
    DFX__TRY(dfx__plan_lambda(s, out, 1));
    if (ramp == DFX__FLOW) {
        DFX__TRY(flow_sigmas(s, out->sigmas, out->calls));
        dfx__ramp_timesteps(s, out, 0);
    }
    for (int i = 0; i < out->calls && c->use_flow_sigmas && ramp == DFX__KARRAS; i++) {
        out->sigmas[i] /= out->sigmas[i] + 1;
        out->timesteps[i] = out->sigmas[i] * c->num_train_timesteps;
    }
    double last = c->final_sigmas_type == DFX__FINAL_ZERO ? 0 : dfx__prolonged_sigma(s, out);
    DFX__TRY(check_last_step(s, out, last));
    return dfx__end_lambda(s, out, last);
}

/* Solves a[n][n] * x = b by elimination with pivots; x comes in b. */
static void solve(float a[MAX_ORDER][MAX_ORDER], float *b, int n)
{
    for (int k = 0; k < n; k++) {
        int pivot = k;
        for (int i = k + 1; i < n; i++)
            pivot = fabsf(a[i][k]) > fabsf(a[pivot][k]) ? i : pivot;
        for (int j = 0; j < n; j++) {
            float swapped = a[k][j];
            a[k][j] = a[pivot][j];
            a[pivot][j] = swapped;
        }
        float swapped = b[k];
        b[k] = b[pivot];
        b[pivot] = swapped;
        for (int i = k + 1; i < n; i++) {
            float factor = a[i][k] / a[k][k];
            for (int j = k; j < n; j++)
                a[i][j] -= factor * a[k][j];
            b[i] -= factor * b[k];
        }
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int j = i + 1; j < n; j++)
            b[i] -= a[i][j] * b[j];
        b[i] /= a[i][i];
    }
}

/* The weights of n differences at the parts r of the step hh, of which B is B(hh); as in the paper
 * one of them is not solved for. */
static void weigh(const float *r, int n, float hh, float B, float *rho)
{
    float a[MAX_ORDER][MAX_ORDER], factorial = 1, phi = expm1f(hh) / hh - 1;
    rho[0] = 0.5f;
    if (n < 2)
        return;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n; k++)
            a[i][k] = i == 0 ? 1 : i == 1 ? r[k] : r[k] * r[k];
        rho[i] = phi * factorial / B;
        factorial *= (float)(i + 2);
        phi = phi / hh - 1 / factorial;
    }
    solve(a, rho, n);
}

/* A step of UniP from sigma `from` to the next one, over the outputs m, the newest first; or of
 * UniC, where `reached` is the output at its end. */
static void update(const dfx_scheduler *s, int from, int order, float *const m[],
                   const float *reached, float *x, size_t count)
{
    int x0 = s->config.predict_x0;
    dfx__level start = dfx__level_at(s, from), end = dfx__level_at(s, from + 1);
    float h = end.lambda - start.lambda, hh = x0 ? -h : h, whole = expm1f(hh);
    float B = s->config.solver_type == DFX__BH1 ? hh : whole;
    float scale = x0 ? end.alpha : end.sigma;
    float ratio = x0 ? end.sigma / start.sigma : end.alpha / start.alpha;
    float r[MAX_ORDER], rho[MAX_ORDER];
    for (int k = 1; k < order; k++)
        r[k - 1] = (dfx__level_at(s, from - k).lambda - start.lambda) / h;
    r[order - 1] = 1;
    weigh(r, reached ? order : order - 1, hh, B, rho);
    for (size_t e = 0; e < count; e++) {
        float sum = 0;
        for (int k = 1; k < order; k++)
            sum += rho[k - 1] * ((m[k][e] - m[0][e]) / r[k - 1]);
        if (reached)
            sum += rho[order - 1] * (reached[e] - m[0][e]);
        x[e] = ratio * x[e] - scale * whole * m[0][e] - scale * B * sum;
    }
}

/* The order of step i, when `taken` steps came before it. */
static int order_of(const dfx_scheduler *s, int i, int taken)
{
    const dfx__scheduler_config *c = &s->config;
    int order = taken + 1 < c->solver_order ? taken + 1 : c->solver_order;
    return c->lower_order_final && s->calls - i < order ? s->calls - i : order;
}

static int corrects(const dfx_scheduler *s, int i)
{
    const dfx__floats *not_after = &s->config.disable_corrector;
    for (int k = 0; k < not_after->count; k++)
        if (i - 1 == (int)not_after->values[k])
            return 0;
    return s->taken > 0;
}

static dfx_status step(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user)
{
    (void)noise, (void)user;
    int past = s->config.solver_order + 1;
    size_t size = batch * n * sizeof *x;
    DFX__TRY(dfx__reserve(s, past + 1));
    float *before = s->buffer[past]; /* the sample that the last step started from */
    dfx__rotate(s, past);
    dfx__convert_output(s, i, s->config.predict_x0, model_output, x, s->buffer[0], batch, n);
    if (corrects(s, i)) {
        memcpy(x, before, size);
        update(s, i - 1, order_of(s, i - 1, s->taken - 1), s->buffer + 1, s->buffer[0], x,
               batch * n);
    }
    memcpy(before, x, size);
    update(s, i, order_of(s, i, s->taken), s->buffer, NULL, x, batch * n);
    return DFX_OK;
}

static const dfx_scheduler_name names[] = {
    { "unipc", "" },
    { "unipc_karras", "use_karras_sigmas=true" },
    { NULL, NULL },
};

const dfx__scheduler_type dfx__unipc_multistep = {
    .class_name = "UniPCMultistepScheduler",
    .names = names,
    .when = "good pictures in 10 to 20 steps; with use_flow_sigmas for flow models as Wan",
    .keys =
        DFX__BETA_KEYS DFX__THRESHOLD_KEYS DFX__SIGMA_KEYS DFX__FLOW_SIGMA_KEYS DFX__DYNAMIC_KEYS
    "solver_order=2,predict_x0=true,solver_type=bh2,lower_order_final=true,disable_corrector=[],"
    "solver_p=null,timestep_spacing=linspace,final_sigmas_type=zero,rescale_betas_zero_snr=false,"
    "shift_terminal=null,",
    .call_keys = DFX__SIGMAS_KEY "mu=null",
    .predictions = DFX__LAMBDA_PREDICTIONS,
    .custom = DFX__SIGMAS,
    .init = init,
    .plan = plan,
    .step = step,
    .noise_level = dfx__lambda_noise_level,
};
