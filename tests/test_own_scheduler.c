/* test_own_scheduler.c - docs/schedulers.md's scheduler draws what the built-in DDIM draws, and
 * steps with a perfect model end at the sample. */
#include "tap.h"

/* the page's own C, which leaves parameters unused */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wconversion"
#include "tests/own_scheduler.inc"

#include <unistd.h>

static dfx_result *draw_picture(dfx_pipeline *p, const char *scheduler, const char **used)
{
    dfx_generate_options o = DFX_GENERATE_DEFAULT;
    dfx_result *r;
    o.prompt = "a red apple";
    o.steps = 8; /* of 125 timesteps */
    o.scheduler = scheduler;
    if (dfx_pipeline_generate(&r, p, &o) != DFX_OK)
        printf("# %s\n", dfx_error());
    if (dfx_pipeline_settings(p, &o) == DFX_OK)
        *used = o.scheduler;
    return r;
}

static double largest_difference(const dfx_result *a, const dfx_result *b)
{
    const dfx_tensor *x = dfx_result_floats(a), *y = dfx_result_floats(b);
    double worst = x->bytes == y->bytes ? 0 : INFINITY;
    for (size_t i = 0; i < x->bytes / sizeof(float) && isfinite(worst); i++)
        worst = fmax(worst, fabs((double)((float *)x->data)[i] - ((float *)y->data)[i]));
    return worst;
}

static void test_pipeline(dfx_scheduler *s)
{
    dfx_pipeline_options options = { .device = "cpu", .dtype = "f32" };
    dfx_pipeline *p;
    const char *used = "";
    if (!ok(dfx_pipeline_open(&p, data("tiny"), &options) == DFX_OK, "the tiny model opens"))
        return;
    dfx_result *built_in = draw_picture(
        p, "ddim,timestep_spacing=trailing,clip_sample=false,set_alpha_to_one=true", &used);
    dfx_pipeline_set_scheduler(p, s);
    dfx_result *own = draw_picture(p, NULL, &used);
    ok(strcmp(used, "MyDDIM") == 0, "the run's settings name it");
    dfx_result *named = draw_picture(p, "euler", &used);
    dfx_pipeline_set_scheduler(p, NULL);
    dfx_result *usual = draw_picture(p, NULL, &used);
    if (ok(built_in && own && named && usual, "all draw")) {
        double same = largest_difference(built_in, own);
        ok(same < 1e-5, "it draws the built-in DDIM's picture (%.0e)", same);
        ok(largest_difference(named, own) > 1e-3, "a run may name another one");
        ok(strcmp(used, "PNDMScheduler") == 0, "NULL brings the model's back");
    }
    dfx_result_free(built_in);
    dfx_result_free(own);
    dfx_result_free(named);
    dfx_result_free(usual);
    dfx_pipeline_free(p);
}

static void halve(void *user, int i, const float *x, float *out, size_t batch, size_t n)
{
    for (size_t k = 0; k < batch * n; k++)
        out[k] = x[k] / 2;
}

static void test_functions(dfx_scheduler *s)
{
    float x[2] = { 1, -1 }, output[2] = { 0 }, room[1001];
    int count;
    ok(strcmp(dfx_scheduler_class(s), "MyDDIM") == 0 && dfx_scheduler_calls(s) == 0 &&
           !dfx_scheduler_sigmas(s, &count),
       "a new one has no schedule");
    ok(dfx_scheduler_set_timesteps(s, 1001) == DFX_ERROR_ARGUMENT, "refused: %s", dfx_error());
    ok(dfx_scheduler_set_custom(s, x, NULL, 2) == DFX_ERROR_ARGUMENT, "refused: %s", dfx_error());
    ok(dfx_scheduler_set_timesteps(s, 2) == DFX_OK && dfx_scheduler_timesteps(s)[1] == 499 &&
           dfx_scheduler_step(s, 0, output, x, 1, 2, NULL, NULL) == DFX_OK &&
           dfx_scheduler_step(s, 0, output, x, 1, 2, NULL, NULL) == DFX_ERROR_ARGUMENT,
       "its steps are in order");
    dfx_scheduler_functions changed = my_ddim;
    changed.scale_model_input = halve;
    dfx_scheduler_new(&s, &changed, room);
    dfx_scheduler_set_timesteps(s, 2);
    dfx_scheduler_scale_model_input(s, 1, x, output, 1, 2);
    ok(output[0] == x[0] / 2 && output[1] == x[1] / 2, "it may scale what the model takes");
    dfx_scheduler_free(s);
    changed.step = NULL;
    ok(dfx_scheduler_new(&s, &changed, NULL) == DFX_ERROR_ARGUMENT && !s, "refused: %s",
       dfx_error());
}

/* How far from the sample 20 steps with a perfect model end. */
static float check_error(dfx_scheduler *s)
{
    float error;
    if (dfx_scheduler_check(s, 20, &error) != DFX_OK)
        printf("# %s\n", dfx_error());
    return error;
}

/* Choices whose steps end at the sample. Where a class's defaults end elsewhere, the keys say so.
 * Not so: IPNDM, whose first sample is all noise and first step forgets x0; PNDM with v_prediction,
 * which averages v of different noise levels; Euler with s_churn, which adds noise after the model
 * has seen the sample; FlowMatchEuler with invert_sigmas, DPMSolverMultistepInverse and DDIM's
 * inverse, which end at noise; DEIS and SASolver, which end at timestep 0's; RePaint, which needs a
 * picture. */
static void test_check(dfx_scheduler *own)
{
    static const char *const choices[] = {
        "ddim",
        "ddim,prediction_type=v_prediction",
        "ddim,prediction_type=sample,eta=1",
        "ddpm",
        "ddpm,prediction_type=v_prediction,variance_type=learned_range",
        "lcm",
        "lcm,prediction_type=v_prediction",
        "tcd,beta_start=0,prediction_type=sample", /* it ends at timestep 0's alpha */
        "cm",
        "scm,intermediate_timesteps=null",
        "cogvideox_ddim",
        "cogvideox_dpm,prediction_type=v_prediction",
        "score_sde_ve",
        "pndm,set_alpha_to_one=true", /* the class ends at timestep 0's alpha by itself */
        "plms,set_alpha_to_one=true",
        "euler",
        "euler_a",
        "cosine_dpmpp",
        "cosine_dpmpp,prediction_type=epsilon,sigma_schedule=karras",
        "dpmpp_sde,noise_sampler_seed=5",
        "dpmpp_sde_karras,prediction_type=v_prediction",
        "edm_euler",
        "edm_euler,prediction_type=v_prediction,sigma_schedule=exponential",
        "euler_karras,prediction_type=v_prediction",
        "euler,prediction_type=sample",
        "flow_euler",
        "flow_euler,shift=3,stochastic_sampling=true",
        "flow_euler,use_dynamic_shifting=true,mu=1.15,shift_terminal=0.02",
        "flow_heun",
        "flow_lcm,shift=3",
        "flow_map,shift=5",
        "heun",
        "heun_karras,prediction_type=v_prediction",
        "heun,prediction_type=sample",
        "kdpm2",
        "kdpm2_karras,prediction_type=v_prediction",
        "kdpm2_a_karras",
        "kdpm2_a,prediction_type=v_prediction",
        "lms",
        "lms_karras,prediction_type=v_prediction",
        "dpmpp_2m",
        "dpmpp_2m_karras,prediction_type=v_prediction",
        "dpmpp_2m,use_flow_sigmas=true,prediction_type=flow_prediction",
        "dpmpp_2m_sde",
        "dpmpp_3m",
        "dpmpp_2m,variance_type=learned",
        "dpmpp_2s",
        "dpmpp_2s_karras,solver_order=3",
        "dpmpp_2s,algorithm_type=sde-dpmsolver++",
        "edm_dpmpp_2m",
        "edm_dpmpp_2m,solver_order=3,prediction_type=v_prediction",
        "unipc",
        "unipc_karras,solver_order=3,prediction_type=v_prediction",
        "unipc,use_flow_sigmas=true,prediction_type=flow_prediction",
    };
    ok(check_error(own) < 1e-5, "the page's ends at the sample");
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        dfx_scheduler *s;
        if (!ok(dfx_scheduler_open(&s, NULL, choices[i]) == DFX_OK, "%s opens", choices[i]))
            continue;
        float error = check_error(s);
        ok(error < 1e-4, "%s ends at the sample (%.0e)", choices[i], error);
        dfx_scheduler_free(s);
    }
    dfx_scheduler *s;
    ok(dfx_scheduler_open(&s, NULL, "euler,final_sigmas_type=sigma_min") == DFX_OK &&
           check_error(s) > 1e-3,
       "one that ends at a noise level does not");
    dfx_scheduler_free(s);
}

int main(void)
{
    float left[1001];
    dfx_scheduler *s;
    if (!ok(dfx_scheduler_new(&s, &my_ddim, left) == DFX_OK, "the page's scheduler"))
        return done();
    test_functions(s);
    test_pipeline(s);
    test_check(s);
    dfx_scheduler_free(s);
    return done();
}
