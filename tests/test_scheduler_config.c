/* test_scheduler_config.c - which schedulers, keys, settings and numbers of steps are taken, and
 * what is refused in which words. */
#include "scheduler_test.h"

#include "scheduler/scheduler.h"

/* A config that must be refused with that status and a word in the message. */
struct refused {
    const char *config, *choice; /* config NULL: none */
    dfx_status status;
    const char *word;
};

#define DPM "{\"_class_name\": \"DPMSolverMultistepScheduler\""
#define EULER "{\"_class_name\": \"EulerDiscreteScheduler\""
static const struct refused refused[] = {
    { NULL, NULL, DFX_ERROR_ARGUMENT, "config" },
    { NULL, "", DFX_ERROR_UNSUPPORTED, "ddim" },
    { NULL, "none", DFX_ERROR_UNSUPPORTED, "euler" },
    { NULL, "euler,foo=1", DFX_ERROR_ARGUMENT, "'foo'" },
    { NULL, "euler,foo", DFX_ERROR_ARGUMENT, "key=value" },
    { NULL, "euler,=1", DFX_ERROR_ARGUMENT, "key=value" },
    { NULL, "euler,beta_start=x", DFX_ERROR_ARGUMENT, "beta_start" },
    { NULL, "euler,beta_start=NaN", DFX_ERROR_ARGUMENT, "beta_start" },
    { NULL, "euler,beta_start=", DFX_ERROR_ARGUMENT, "beta_start" },
    { NULL, "euler,timestep_spacing=odd", DFX_ERROR_ARGUMENT, "leading" },
    { NULL, "euler,use_karras_sigmas=1", DFX_ERROR_ARGUMENT, "true or false" },
    { NULL, "euler,use_karras_sigmas=true,use_beta_sigmas=true", DFX_ERROR_ARGUMENT, "only one" },
    { NULL, "pndm,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "euler_a,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "kdpm2,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "kdpm2_a,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "cosine_dpmpp,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "cosine_dpmpp,solver_order=3", DFX_ERROR_ARGUMENT, "1 or 2" },
    { NULL, "cosine_dpmpp,final_sigmas_type=sigma_min", DFX_ERROR_ARGUMENT, "'zero'" },
    { NULL, "cosine_dpmpp,sigma_max=0.3", DFX_ERROR_ARGUMENT, "above sigma_min" },
    { NULL, "dpmpp_sde,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "dpmpp_sde,noise_sampler_seed=-1", DFX_ERROR_ARGUMENT, "noise_sampler_seed" },
    { NULL, "edm_euler,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "edm_euler,sigma_min=80", DFX_ERROR_ARGUMENT, "above sigma_min" },
    { NULL, "edm_euler,sigma_min=0", DFX_ERROR_ARGUMENT, "above 0" },
    { NULL, "edm_euler,sigma_max=null", DFX_ERROR_ARGUMENT, "above sigma_min" },
    { NULL, "ipndm,trained_betas=[0.5]", DFX_ERROR_ARGUMENT, "two or more" },
    { NULL, "lms,order=9", DFX_ERROR_ARGUMENT, "order" },
    { NULL, "heun_karras,use_beta_sigmas=true", DFX_ERROR_ARGUMENT, "only one" },
    { NULL, "dpmpp_2m,solver_order=4", DFX_ERROR_ARGUMENT, "solver_order" },
    { NULL, "dpmpp_2m,algorithm_type=dpmsolver", DFX_ERROR_ARGUMENT, "final_sigmas_type" },
    { NULL, "dpmpp_2m,algorithm_type=deis", DFX_ERROR_ARGUMENT, "final_sigmas_type" },
    { NULL, "dpmpp_2m,mu=1.1", DFX_ERROR_ARGUMENT, "use_dynamic_shifting" },
    { NULL, "flow_euler,use_karras_sigmas=true,use_beta_sigmas=true", DFX_ERROR_ARGUMENT,
      "only one" },
    { NULL, "flow_euler,shift=0", DFX_ERROR_ARGUMENT, "shift" },
    { NULL, "flow_euler,time_shift_type=odd", DFX_ERROR_ARGUMENT, "exponential" },
    { NULL, "flow_euler,prediction_type=epsilon", DFX_ERROR_ARGUMENT, "prediction_type" },
    { NULL, "flow_lcm,scale_factors=[0.5,0.75]", DFX_ERROR_ARGUMENT, "scale_factors" },
    { NULL, "flow_lcm,upscale_mode=odd", DFX_ERROR_ARGUMENT, "bicubic" },
    { NULL, "flow_heun,mu=1", DFX_ERROR_ARGUMENT, "'mu'" },
    { NULL, "unipc,shift_terminal=0.1", DFX_ERROR_ARGUMENT, "use_flow_sigmas" },
    { NULL, "unipc,predict_x0=false,prediction_type=flow_prediction", DFX_ERROR_ARGUMENT,
      "predict_x0=true" },
    { NULL, "unipc,solver_p=DDIMScheduler", DFX_ERROR_ARGUMENT, "solver_p" },
    { NULL, "deis,algorithm_type=sde-dpmsolver", DFX_ERROR_ARGUMENT, "algorithm_type" },
    { NULL, "deis,mu=1.1", DFX_ERROR_ARGUMENT, "use_dynamic_shifting" },
    { NULL, "dpmpp_2s,timestep_spacing=leading", DFX_ERROR_ARGUMENT, "'timestep_spacing'" },
    { NULL, "dpmpp_2s,algorithm_type=sde-dpmsolver", DFX_ERROR_ARGUMENT, "algorithm_type" },
    { NULL, "dpmpp_2s,algorithm_type=dpmsolver", DFX_ERROR_ARGUMENT, "final_sigmas_type" },
    { NULL, "dpmpp_2s,algorithm_type=dpmsolver,final_sigmas_type=sigma_min,thresholding=true",
      DFX_ERROR_ARGUMENT, "thresholding" },
    { NULL, "dpmpp_2m_inverse,algorithm_type=sde-dpmsolver++,solver_order=3", DFX_ERROR_ARGUMENT,
      "solver_order" },
    { NULL, "sa_solver,algorithm_type=dpmsolver++", DFX_ERROR_ARGUMENT, "algorithm_type" },
    { NULL, "sa_solver,algorithm_type=noise_prediction,prediction_type=flow_prediction",
      DFX_ERROR_ARGUMENT, "data_prediction" },
    { NULL, "sa_solver,algorithm_type=noise_prediction,thresholding=true", DFX_ERROR_ARGUMENT,
      "thresholding" },
    { NULL, "sa_solver,predictor_order=5", DFX_ERROR_ARGUMENT, "predictor_order" },
    { NULL, "sa_solver,tau_func=1", DFX_ERROR_ARGUMENT, "tau_func" },
    { NULL, "edm_dpmpp_2m,algorithm_type=sde-dpmsolver++,solver_order=3", DFX_ERROR_ARGUMENT,
      "solver_order" },
    { NULL, "edm_dpmpp_2m,algorithm_type=deis", DFX_ERROR_ARGUMENT, "final_sigmas_type" },
    { NULL, "edm_dpmpp_2m,prediction_type=sample", DFX_ERROR_ARGUMENT, "'sample'" },
    { NULL, "edm_dpmpp_2m,sigma_min=null", DFX_ERROR_ARGUMENT, "sigma_min" },
    { NULL, "ddpm,variance_type=fixed_large_log", DFX_ERROR_ARGUMENT, "fixed_large" },
    { NULL, "ddim_inverse,timestep_spacing=linspace", DFX_ERROR_ARGUMENT, "timestep_spacing" },
    { NULL, "tcd,eta=1.5", DFX_ERROR_ARGUMENT, "eta" },
    { NULL, "cm,sigma_min=null", DFX_ERROR_ARGUMENT, "sigma_min" },
    { NULL, "cm,sigma_max=0.001", DFX_ERROR_ARGUMENT, "sigma_min" },
    { NULL, "cm,num_train_timesteps=1", DFX_ERROR_ARGUMENT, "num_train_timesteps" },
    { NULL, "cogvideox_ddim,snr_shift_scale=0", DFX_ERROR_ARGUMENT, "snr_shift_scale" },
    { NULL, "score_sde_ve,sigma_min=0", DFX_ERROR_ARGUMENT, "sigma_min" },
    { NULL, "score_sde_ve,sigma_max=null", DFX_ERROR_ARGUMENT, "sigma_max" },
    { NULL, "repaint,eta=2", DFX_ERROR_ARGUMENT, "eta" },
    { NULL, "VQDiffusionScheduler", DFX_ERROR_UNSUPPORTED, "discrete tokens" },
    { NULL, "KarrasVeScheduler", DFX_ERROR_UNSUPPORTED, "model that is not here" },
    { "{\"_class_name\": \"UnCLIPScheduler\"}", NULL, DFX_ERROR_UNSUPPORTED, "'UnCLIPScheduler'" },
    { NULL, "scm,prediction_type=epsilon", DFX_ERROR_ARGUMENT, "prediction_type" },
    { NULL, "euler,timesteps=AYS", DFX_ERROR_ARGUMENT, "AysSchedules" },
    { NULL, "euler,timesteps=[]", DFX_ERROR_ARGUMENT, "timesteps" },
    { NULL, "euler,sigmas=[1,-1]", DFX_ERROR_ARGUMENT, "sigmas[1]" },
    { NULL, "ddim,timesteps=[999,1]", DFX_ERROR_ARGUMENT, "unknown key 'timesteps'" },
    { "[]", NULL, DFX_ERROR_FORMAT, "object" },
    { "{", NULL, DFX_ERROR_FORMAT, "" },
    { "{}", NULL, DFX_ERROR_FORMAT, "_class_name" },
    { "{\"_class_name\": 3}", NULL, DFX_ERROR_FORMAT, "_class_name" },
    { "{\"_class_name\": \"NoScheduler\"}", NULL, DFX_ERROR_UNSUPPORTED, "'NoScheduler'" },
    { EULER ", \"num_train_timesteps\": 2000000000}", NULL, DFX_ERROR_FORMAT,
      "num_train_timesteps" },
    { EULER ", \"num_train_timesteps\": 0}", NULL, DFX_ERROR_FORMAT, "num_train_timesteps" },
    { EULER ", \"num_train_timesteps\": \"1000\"}", NULL, DFX_ERROR_FORMAT, "num_train_timesteps" },
    { EULER ", \"num_train_timesteps\": null}", NULL, DFX_ERROR_FORMAT, "num_train_timesteps" },
    { EULER ", \"beta_end\": NaN}", NULL, DFX_ERROR_FORMAT, "beta_end" },
    { EULER ", \"beta_end\": Infinity}", NULL, DFX_ERROR_FORMAT, "beta_end" },
    { EULER ", \"beta_schedule\": 3}", NULL, DFX_ERROR_FORMAT, "scaled_linear" },
    { EULER ", \"trained_betas\": \"all\"}", NULL, DFX_ERROR_FORMAT, "trained_betas" },
    { EULER ", \"trained_betas\": []}", NULL, DFX_ERROR_FORMAT, "trained_betas" },
    { EULER ", \"trained_betas\": [0.1, null]}", NULL, DFX_ERROR_FORMAT, "trained_betas[1]" },
    { EULER ", \"trained_betas\": [0.1, [2]]}", NULL, DFX_ERROR_FORMAT, "trained_betas[1]" },
    { EULER ", \"rescale_betas_zero_snr\": true, \"num_train_timesteps\": 1}", NULL,
      DFX_ERROR_ARGUMENT, "beta" },
    { DPM ", \"use_karras_sigmas\": true, \"use_exponential_sigmas\": true}", NULL,
      DFX_ERROR_ARGUMENT, "only one" },
    { DPM ", \"algorithm_type\": \"data_prediction\"}", NULL, DFX_ERROR_ARGUMENT,
      "algorithm_type" },
    { DPM ", \"variance_type\": \"large\"}", NULL, DFX_ERROR_FORMAT, "null" },
    { DPM ", \"lambda_min_clipped\": \"-inf\"}", NULL, DFX_ERROR_FORMAT, "lambda_min_clipped" },
};

static void test_refused(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct refused *r = &refused[i];
        dfx_scheduler *s;
        dfx_status status = r->config ? open_text(&s, r->config, strlen(r->config), r->choice)
                                      : dfx_scheduler_open(&s, NULL, r->choice);
        ok(status == r->status && !s && strstr(dfx_error(), r->word), "refused: %s", dfx_error());
        dfx_scheduler_free(s);
    }
}

/* The step counts that a scheduler cannot take. */
static void test_steps_refused(void)
{
    static const struct {
        const char *choice;
        int n;
        const char *word;
    } wrong[] = {
        { "euler", 0, "1 to" },
        { "euler", -5, "1 to" },
        { "euler", 1001, "1000" },
        { "flow_euler", 100001, "100000" },
        { "flow_euler,use_dynamic_shifting=true", 5, "mu" },
        { "flow_euler,shift_terminal=0.1", 1, "shift_terminal" },
        { "flow_euler,use_dynamic_shifting=true,mu=0,time_shift_type=linear", 5, "shift keys" },
        { "pndm", 3, "skip_prk_steps" },
        { "ddim,steps_offset=1", 1000, "steps_offset" },
        { "dpmpp_sde,trained_betas=[0.1,0.2,0.3]", 5, "fall" },
        { "kdpm2_a,beta_schedule=squaredcos_cap_v2", 5, "middle" },
        { "ddpm", 1001, "1000" },
        { "ddim_inverse,prediction_type=sample", 5, "set_alpha_to_one" },
        { "ddpm,clip_sample=false,rescale_betas_zero_snr=true", 1000, "v_prediction" },
        { "ddim,clip_sample=false,rescale_betas_zero_snr=true,timestep_spacing=trailing", 5,
          "v_prediction" },
        { "cogvideox_ddim,rescale_betas_zero_snr=true,timestep_spacing=trailing", 5,
          "v_prediction" },
        { "tcd,clip_sample=true,rescale_betas_zero_snr=true", 4, "v_prediction" },
        { "lcm", 51, "original_inference_steps" },
        { "lcm,strength=0.5", 26, "strength 0.5" },
        { "lcm,strength=0", 1, "strength 0" },
        { "lcm", 0, "1 to" },
        { "tcd,original_inference_steps=1001", 5, "original_inference_steps" },
        { "cm", 41, "40" },
        { "scm", 3, "intermediate_timesteps" },
        { "cogvideox_dpm", 1001, "1000" },
        { "score_sde_ve", 0, "1 to" },
        { "repaint", 1001, "1000" },
        { "repaint,num_train_timesteps=2000,jump_n_sample=1000", 1500, "jump_n_sample 1000" },
        { "scm,max_timesteps=null", 2, "max_timesteps" },
        { "euler,timesteps=StableDiffusionTimesteps", 20, "ask for 10" },
        { "euler,sigmas=[14.6,2,0.5,0]", 4, "sigmas lists 3 steps" },
        { "flow_euler,timesteps=[900,500],sigmas=[0.9]", 2, "as many" },
        { "dpmpp_2m,lambda_min_clipped=100", 5, "lambda_min_clipped" },
        { "dpmpp_2m,beta_start=0,beta_end=0,use_exponential_sigmas=true", 5, "sigma" },
        { "dpmpp_2m_karras,use_flow_sigmas=true", 5, "below 1" },
        { "dpmpp_2m_karras,solver_type=heun,final_sigmas_type=sigma_min", 20, "twice" },
        { "dpmpp_2m_inverse,algorithm_type=sde-dpmsolver++", 5, "towards noise" },
        { "dpmpp_2m_inverse,solver_order=3,use_karras_sigmas=true", 20, "twice" },
        { "edm_dpmpp_2m,solver_type=heun,final_sigmas_type=sigma_min", 20, "twice" },
        { "unipc,use_dynamic_shifting=true,use_flow_sigmas=true", 5, "mu" },
        { "unipc,solver_type=bh1", 5, "final_sigmas_type" },
        { "unipc,predict_x0=false", 5, "final_sigmas_type" },
        { "unipc,lower_order_final=false", 5, "lower_order_final" },
        { "unipc_karras,lower_order_final=false,solver_order=3,final_sigmas_type=sigma_min", 5,
          "twice" },
        { "unipc,use_flow_sigmas=true,shift_terminal=0.1", 1, "than one step" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dfx_scheduler *s;
        float x[COUNT] = { 0 };
        if (!ok(dfx_scheduler_open(&s, NULL, wrong[i].choice) == DFX_OK, "%s", wrong[i].choice))
            continue;
        ok(dfx_scheduler_set_timesteps(s, wrong[i].n) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), wrong[i].word),
           "refused: %s", dfx_error());
        ok(dfx_scheduler_calls(s) == 0 &&
               dfx_scheduler_step(s, 0, x, x, BATCH, EACH, NULL, NULL) == DFX_ERROR_ARGUMENT,
           "no step without a schedule");
        dfx_scheduler_free(s);
    }
}

/* The first timestep of 20 that a config and a choice give. */
static float first_timestep(const char *config, const char *choice)
{
    dfx_scheduler *s;
    float first = -1;
    if (open_text(&s, config, strlen(config), choice) == DFX_OK &&
        dfx_scheduler_set_timesteps(s, 20) == DFX_OK)
        first = dfx_scheduler_timesteps(s)[0];
    dfx_scheduler_free(s);
    return first;
}

/* The lists of a caller's that a scheduler does not take. */
static void test_custom_refused(void)
{
    static const float list[] = { 900, 500, 100 }, bad[] = { 900, NAN, 100 },
                       to_zero[] = { 0.5f, 0 };
    static const float rising[] = { 100, 200 }, above[] = { 1000, 500 };
    static const struct {
        const char *choice;
        const float *timesteps, *sigmas;
        int n;
        const char *word;
    } wrong[] = {
        { "euler", NULL, NULL, 3, "needs" },
        { "euler", list, list, 3, "not both" },
        { "euler", list, NULL, 0, "1 to" },
        { "euler", NULL, list, 1, "two sigmas" },
        { "euler", bad, NULL, 3, "timestep 1" },
        { "euler_karras", list, NULL, 3, "use_karras_sigmas" },
        { "euler,timestep_type=continuous,prediction_type=v_prediction", list, NULL, 3,
          "continuous" },
        { "heun_karras", list, NULL, 3, "use_karras_sigmas" },
        { "heun", NULL, list, 3, "sigmas" },
        { "dpmpp_sde", list, NULL, 3, "timesteps" },
        { "edm_euler", NULL, list, 3, "sigmas" },
        { "lms", list, NULL, 3, "timesteps" },
        { "dpmpp_2m", NULL, list, 3, "sigmas" },
        { "dpmpp_2m,use_lu_lambdas=true", list, NULL, 3, "use_lu_lambdas" },
        { "flow_heun", NULL, list, 3, "sigmas" },
        { "deis", list, NULL, 3, "timesteps" },
        { "dpmpp_2s", NULL, list, 3, "sigmas" },
        { "dpmpp_2s_karras", list, NULL, 3, "use_karras_sigmas" },
        { "unipc", NULL, list, 3, "use_flow_sigmas" },
        { "unipc,use_flow_sigmas=true,use_karras_sigmas=true", NULL, list, 3, "alone" },
        { "unipc,use_flow_sigmas=true", NULL, to_zero, 2, "above 0" },
        { "ddim", list, NULL, 3, "timesteps" },
        { "pndm", list, NULL, 3, "timesteps" },
        { "ddpm", rising, NULL, 2, "must fall" },
        { "ddpm", above, NULL, 2, "1000" },
        { "ddim_inverse", list, NULL, 3, "timesteps" },
        { "lcm", above, NULL, 2, "1000" },
        { "lcm,strength=0.1", list, NULL, 3, "strength" },
        { "tcd", rising, NULL, 2, "must fall" },
        { "cm", list, NULL, 3, "40" },
        { "scm", list, NULL, 1, "two timesteps" },
        { "score_sde_ve", list, NULL, 3, "timesteps" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dfx_scheduler *s;
        if (!ok(dfx_scheduler_open(&s, NULL, wrong[i].choice) == DFX_OK, "%s", wrong[i].choice))
            continue;
        ok(dfx_scheduler_set_custom(s, wrong[i].timesteps, wrong[i].sigmas, wrong[i].n) ==
                   DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), wrong[i].word) && dfx_scheduler_calls(s) == 0,
           "refused: %s", dfx_error());
        dfx_scheduler_free(s);
    }
}

/* Where a run may start in schedules of two calls a step. */
static void test_half_steps(void)
{
    static const char *const choices[] = { "dpmpp_sde,noise_sampler_seed=1", "heun", "kdpm2",
                                           "kdpm2_a" };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        dfx_scheduler *s;
        float x[COUNT] = { 0 };
        dfx_scheduler_open(&s, NULL, choices[i]);
        dfx_scheduler_set_timesteps(s, 5);
        ok(dfx_scheduler_calls(s) == 9 &&
               dfx_scheduler_step(s, 3, x, x, BATCH, EACH, NULL, NULL) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), "even"),
           "refused: %s", dfx_error());
        ok(dfx_scheduler_step(s, 4, x, x, BATCH, EACH, NULL, NULL) == DFX_OK, "starts at call 4");
        dfx_scheduler_free(s);
    }
}

/* A Brownian motion needs a seed before the first step; the same seed is the same motion. */
static void test_generator(void)
{
    static const char *const choices[] = { "cosine_dpmpp", "dpmpp_sde" };
    for (size_t c = 0; c < sizeof choices / sizeof *choices; c++) {
        dfx_scheduler *s;
        dfx_rng rng;
        float x[2][COUNT] = { 0 }, output[COUNT] = { 0 };
        dfx_scheduler_open(&s, NULL, choices[c]);
        dfx_scheduler_set_timesteps(s, 5);
        ok(dfx_scheduler_step(s, 0, output, x[0], BATCH, EACH, NULL, NULL) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), "dfx_scheduler_set_generator"),
           "refused: %s", dfx_error());
        dfx_scheduler_set_generator(s, &rng);
        for (int run = 0; run < 2; run++) {
            dfx_rng_seed(&rng, 3);
            dfx_scheduler_set_timesteps(s, 5);
            for (int i = 0; i < 3; i++)
                dfx_scheduler_step(s, i, output, x[run], BATCH, EACH, NULL, NULL);
        }
        ok(x[0][0] != 0 && memcmp(x[0], x[1], sizeof x[0]) == 0, "with a generator it repeats");
        dfx_scheduler_free(s);
    }
}

static void test_from_config(void)
{
    const char *published = "{\"_class_name\": \"FlaxPNDMScheduler\", \"skip_prk_steps\": true, "
                            "\"steps_offset\": 1, \"eta\": 3, \"other\": [1], \"clip_sample\": 0}";
    const char *saved = "{\"_class_name\": \"PNDMScheduler\", \"timestep_spacing\": \"leading\", "
                        "\"steps_offset\": 1, \"use_karras_sigmas\": null}";
    ok(first_timestep(published, NULL) == 951, "PNDM spaces leading by itself; Flax is dropped");
    ok(first_timestep(published, "euler") == 999, "Euler takes its own default, linspace");
    ok(first_timestep(saved, "euler") == 951, "but what the file carries goes over");
    ok(first_timestep(saved, "EulerDiscreteScheduler,steps_offset=3") == 953, "keys of the choice");
    ok(first_timestep(saved, "dpmpp_2m,timestep_spacing=trailing") == 999, "DPM++ trailing");
    ok(first_timestep(published, "dpmpp_2m") == 999, "a class ignores foreign keys");
}

/* The first timestep of 20, of a config in a pipeline that repairs its steps_offset. */
static float repaired_timestep(const char *config, const char *choice)
{
    char path[] = "/tmp/dfx-scheduler-XXXXXX";
    dfx_scheduler *s = NULL;
    float first = -1;
    int file = mkstemp(path);
    if (file < 0 || write(file, config, strlen(config)) < 0 || close(file) != 0)
        return -1;
    if (dfx__scheduler_open(&s, path, choice, DFX__REPAIR_STEPS_OFFSET) == DFX_OK &&
        dfx_scheduler_set_timesteps(s, 20) == DFX_OK)
        first = dfx_scheduler_timesteps(s)[0];
    dfx_scheduler_free(s);
    unlink(path);
    return first;
}

/* As diffusers 0.42.1 has them after StableDiffusionPipeline's constructor. */
static void test_repairs(void)
{
    const char *without = "{\"_class_name\": \"DDIMScheduler\"}";
    const char *with = "{\"_class_name\": \"DDIMScheduler\", \"steps_offset\": 0}";
    ok(first_timestep(without, NULL) == 950 && repaired_timestep(without, NULL) == 951,
       "a pipeline gives its own scheduler steps_offset 1");
    ok(repaired_timestep(without, "DDIMScheduler") == 951, "also when its class is named");
    ok(repaired_timestep(without, "pndm") == 950, "another class has its own default");
    ok(repaired_timestep(with, "pndm") == 951, "unless the file has the key");
    ok(repaired_timestep(with, "pndm,steps_offset=3") == 953, "and the choice wins");
}

int main(void)
{
    test_refused();
    test_steps_refused();
    test_custom_refused();
    test_half_steps();
    test_generator();
    test_from_config();
    test_repairs();
    return done();
}
