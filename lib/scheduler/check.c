/* check.c - whether a scheduler's steps agree with its noise levels: with a model that knows the
 * sample they must arrive at it. */
#include "scheduler/scheduler.h"

#include "core/memory.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>

enum { BATCH = 2, EACH = 16, COUNT = BATCH * EACH };

/* Numbers from -1 to 1 of a xorshift generator (Marsaglia 2003): the same everywhere. */
static void draw(void *user, float *out, size_t n)
{
    uint32_t *state = user;
    for (size_t k = 0; k < n; k++) {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        out[k] = (float)(*state >> 8) / 0x1p23f - 1;
    }
}

float dfx__perfect_output(const dfx_scheduler *s, int i, float x0, float x)
{
    float alpha, sigma;
    if (s->type->perfect_output)
        return s->type->perfect_output(s, i, x0, x);
    s->type->noise_level(s, i, &alpha, &sigma);
    float noise = (x - alpha * x0) / sigma, norm = sqrtf(alpha * alpha + sigma * sigma);
    switch (s->config.prediction_type) {
    case DFX__EPSILON:
        return noise;
    case DFX__V_PREDICTION: /* of the sample at its usual size, also where x is larger */
        return (alpha * noise - sigma * x0) / norm;
    case DFX__FLOW_PREDICTION:
        return noise - x0;
    default:
        return x0;
    }
}

static void perfect_outputs(const dfx_scheduler *s, int i, const float *x0, const float *x,
                            float *out, int parts)
{
    for (int k = 0; k < COUNT; k++) {
        float *to = out + k / EACH * parts * EACH + k % EACH;
        *to = dfx__perfect_output(s, i, x0[k], x[k]);
        if (parts == 2)
            to[EACH] = 0;
    }
}

static dfx_status check(dfx_scheduler *s, int n, float *error)
{
    float x0[COUNT], noise[COUNT], x[COUNT], output[2 * COUNT];
    uint32_t state = 1;
    *error = INFINITY;
    DFX__TRY(dfx_scheduler_set_timesteps(s, n));
    draw(&state, x0, COUNT);
    draw(&state, noise, COUNT);
    dfx_scheduler_add_noise(s, 0, x0, noise, x, BATCH, EACH);
    for (int i = 0; i < s->calls; i++) {
        perfect_outputs(s, i, x0, x, output, dfx_scheduler_output_parts(s));
        DFX__TRY(dfx_scheduler_step(s, i, output, x, BATCH, EACH, draw, &state));
    }
    float worst = 0;
    for (int k = 0; k < COUNT; k++)
        worst = fabsf(x[k] - x0[k]) <= worst ? worst : fabsf(x[k] - x0[k]);
    *error = worst;
    return DFX_OK;
}

dfx_status dfx_scheduler_check(dfx_scheduler *s, int n, float *error)
{
    dfx_rng rng, *usual = s->rng;
    dfx_rng_seed(&rng, 1);
    s->rng = &rng;
    dfx_status status = check(s, n, error);
    s->rng = usual;
    return status;
}
