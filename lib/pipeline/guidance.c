/* guidance.c - what a guidance scale does: to predictions, or as an input of a distilled UNet. */
#include "pipeline/run.h"

#include <math.h>
#include <stdlib.h>

int dfx__guided_branches(const dfx_pipeline *p, const dfx_generate_options *o)
{
    int distilled = dfx__unet_get_facts(p->model[DFX__UNET]->net).cond_width > 0;
    return o->guidance_scale > 1 && !distilled ? 2 : 1;
}

/* Sinusoids of 1000 (scale - 1), sines first, with the highest frequency first. */
dfx_status dfx__embed_guidance(dfx__run *r)
{
    int width = dfx__unet_get_facts(r->p->model[DFX__UNET]->net).cond_width, half = width / 2;
    float w = (r->o->guidance_scale - 1) * 1000, step = logf(10000) / (float)(half - 1);
    dfx_spec spec = { DFX_F32, 2, { 1, width } };
    if (!width)
        return DFX_OK;
    float *embedding = dfx__alloc((size_t)width, sizeof *embedding); /* an odd width ends with 0 */
    if (!embedding)
        return dfx__no_memory();
    for (int i = 0; i < half; i++) {
        float angle = w * expf((float)i * -step);
        embedding[i] = sinf(angle);
        embedding[half + i] = cosf(angle);
    }
    dfx_status status = dfx__set_condition(r, DFX__TIMESTEP_COND, &spec, embedding);
    free(embedding);
    return status;
}

static double standard_deviation(const float *x, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - sum / (double)n) * (x[i] - sum / (double)n);
    return sqrt(squares / (double)(n - 1));
}

/* Brings one picture's standard deviation a part of the way back to the text's. */
static void rescale(float *guided, const float *text, size_t n, float part)
{
    double factor = standard_deviation(text, n) / standard_deviation(guided, n);
    for (size_t i = 0; i < n; i++)
        guided[i] *= (float)(part * factor + 1 - part);
}

void dfx__rescale_guided(const dfx__run *r, float *guided, const float *text)
{
    size_t n = r->n / (size_t)r->pictures;
    for (size_t i = 0; i < r->n && r->o->guidance_rescale > 0; i += n)
        rescale(guided + i, text + i, n, r->o->guidance_rescale);
}

void dfx__guide(dfx__run *r, float *pred)
{
    const float *text = pred + r->n;
    for (size_t i = 0; i < r->n; i++)
        pred[i] += r->o->guidance_scale * (text[i] - pred[i]);
    dfx__rescale_guided(r, pred, text);
}
