/* scheduler.h - what the schedulers share: the class table's row, the configuration, the state of a
 * run, and the arithmetic of schedules. A scheduler is one file with one row. */
#ifndef DFX_SCHEDULER_SCHEDULER_H
#define DFX_SCHEDULER_SCHEDULER_H

#include "core/config_keys.h"
#include "dfxcl/scheduler.h"

enum {
    DFX__MAX_TRAIN_TIMESTEPS = 100000, /* what a file may ask for; diffusers' models have 1000 */
    DFX__MAX_BUFFERS = 16
};

/* Values of the configuration's word keys, in the order of the words in config.c. */
enum {
    DFX__LINEAR,
    DFX__SCALED_LINEAR,
    DFX__SQUAREDCOS_CAP_V2,
    DFX__SIGMOID,
    DFX__LAPLACE,
    DFX__EXP
};
enum { DFX__LINSPACE, DFX__LEADING, DFX__TRAILING };
enum {
    DFX__EPSILON,
    DFX__SAMPLE,
    DFX__V_PREDICTION,
    DFX__FLOW_PREDICTION,
    DFX__ORIGINAL_SAMPLE, /* Euler's other name of "sample" */
    DFX__TRIGFLOW
};
enum { DFX__INTERPOLATE_LINEAR, DFX__INTERPOLATE_LOG_LINEAR };
enum { DFX__DISCRETE, DFX__CONTINUOUS };
enum { DFX__FINAL_ZERO, DFX__FINAL_SIGMA_MIN };
enum {
    DFX__DPMSOLVER,
    DFX__DPMSOLVER_PP,
    DFX__SDE_DPMSOLVER,
    DFX__SDE_DPMSOLVER_PP,
    DFX__DEIS,
    DFX__DATA_PREDICTION,
    DFX__NOISE_PREDICTION
};
enum { DFX__MIDPOINT, DFX__HEUN, DFX__LOGRHO, DFX__BH1, DFX__BH2 };
enum { DFX__SHIFT_EXPONENTIAL, DFX__SHIFT_LINEAR };
enum { DFX__SCHEDULE_KARRAS, DFX__SCHEDULE_EXPONENTIAL };
enum {
    DFX__NO_VARIANCE = -1, /* null */
    DFX__FIXED_SMALL,
    DFX__FIXED_SMALL_LOG,
    DFX__FIXED_LARGE,
    DFX__FIXED_LARGE_LOG,
    DFX__LEARNED,
    DFX__LEARNED_RANGE
};
enum {
    DFX__NEAREST,
    DFX__UPSCALE_LINEAR,
    DFX__BILINEAR,
    DFX__BICUBIC,
    DFX__TRILINEAR,
    DFX__AREA,
    DFX__NEAREST_EXACT
};

/* A list key's numbers; owned, NULL for null and for []. */
typedef struct {
    float *values;
    int count;
} dfx__floats;

/* The keys of all classes under diffusers' names; a class reads the ones that its row lists.
 * Numbers that may be null are NaN then. */
typedef struct {
    int num_train_timesteps;
    double beta_start, beta_end;
    int beta_schedule;
    dfx__floats trained_betas; /* none: by beta_schedule */
    int rescale_betas_zero_snr;
    double snr_shift_scale;

    int timestep_spacing, timestep_type, steps_offset;
    int prediction_type;
    int thresholding;
    double dynamic_thresholding_ratio, sample_max_value;
    int clip_sample;
    double clip_sample_range;
    int set_alpha_to_one, skip_prk_steps;

    int interpolation_type, final_sigmas_type;
    int use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas, use_flow_sigmas;
    double sigma_min, sigma_max;
    double flow_shift, mu;
    int use_dynamic_shifting, time_shift_type;
    double lambda_min_clipped;
    int solver_order, algorithm_type, solver_type;
    int lower_order_final, euler_at_final;
    int predictor_order, corrector_order, predict_x0;
    dfx__floats disable_corrector; /* steps */
    int variance_type;
    double noise_sampler_seed;

    double shift, base_shift, max_shift, shift_terminal;
    int base_image_seq_len, max_image_seq_len, invert_sigmas, stochastic_sampling;
    dfx__floats scale_factors;
    int upscale_mode;

    double sigma_data, rho, snr, sampling_eps;
    int sigma_schedule, clip_denoised, correct_steps;
    int original_inference_steps;
    double timestep_scaling;

    double eta, s_churn, s_tmin, s_tmax, s_noise, strength;
    double max_timesteps, intermediate_timesteps;
    int use_clipped_model_output, order, jump_length, jump_n_sample;
    dfx__floats timesteps, sigmas;
} dfx__scheduler_config;

/* What a class plans. The lists have room for DFX__ROOM(steps); dfx__reserve_schedule makes more.
 */
typedef struct {
    double *timesteps, *sigmas, *extra;  /* extra: a further list that the class keeps, s->extra */
    int calls, sigma_count, extra_count; /* sigma_count 0: a scheduler without sigmas */
    size_t room;
} dfx__schedule;
#define DFX__ROOM(steps) (2 * (size_t)(steps) + 16)

/* The lists of dfx_scheduler_set_custom that a class takes. */
enum { DFX__TIMESTEPS = 1, DFX__SIGMAS = 2, DFX__BOTH_LISTS = 4 };

/* What a class does with the variance behind a model's mean: it has none, drops it (and looks for
 * it with epsilon only, as diffusers), or takes both parts. */
enum { DFX__WITHOUT_VARIANCE, DFX__DROPS_VARIANCE, DFX__TAKES_VARIANCE };

/* A row of the class table. */
typedef struct {
    const char *class_name;
    const dfx_scheduler_name *names; /* ended by a NULL name; the first one is the usual one */
    const char *when;                /* in a line, when to use it */

    /* "key=default,..." of diffusers' constructor. */
    const char *keys;
    /* The same of what diffusers takes when it runs: settings of a choice, never of a file. */
    const char *call_keys;
    /* The words of prediction_type, algorithm_type and solver_type that it takes, 1 << DFX__EPSILON
     * and so on; 0 where it has no such key. */
    unsigned predictions, algorithms, solvers;
    unsigned custom;   /* the lists that it takes, DFX__TIMESTEPS and so on; 0: none */
    int variance;      /* DFX__DROPS_VARIANCE and so on */
    int any_steps;     /* n may be more than the training timesteps */
    int order;         /* calls of a step; 0: one */
    size_t state_size; /* of s->state, which is 0 at each set_timesteps */

    /* After the configuration: refuses impossible combinations, makes the tables that do not depend
     * on the number of steps. */
    dfx_status (*init)(dfx_scheduler *s);
    /* The schedule of s->steps steps; also init_noise_sigma where it is not 1. */
    dfx_status (*plan)(dfx_scheduler *s, dfx__schedule *out);
    dfx_status (*step)(dfx_scheduler *s, int i, const float *model_output, float *x, size_t batch,
                       size_t n, dfx_noise_function *noise, void *user);
    /* What a noised sample is at call i: alpha * x0 + sigma * noise. */
    void (*noise_level)(const dfx_scheduler *s, int i, float *alpha, float *sigma);
    /* What the sample is divided by for the model at call i; NULL: it is taken as it is. */
    float (*input_divisor)(const dfx_scheduler *s, int i);
    /* The same where a division does not do; NULL: input_divisor. */
    void (*scale_model_input)(const dfx_scheduler *s, int i, const float *x, float *out,
                              size_t batch, size_t n);
    /* What a model that knows x0 would say of x at call i, for dfx_scheduler_check; NULL: by
     * prediction_type. */
    float (*perfect_output)(const dfx_scheduler *s, int i, float x0, float x);
    void (*close)(dfx_scheduler *s); /* frees what the class keeps besides; NULL: nothing */
} dfx__scheduler_type;

struct dfx_scheduler {
    const dfx__scheduler_type *type;
    dfx__scheduler_config config;

    int train;                 /* entries of the tables over training timesteps */
    float *betas;              /* [train] */
    float *alphas_cumprod;     /* [train] */
    float *train_sigmas;       /* [train], NULL for schedulers without sigmas */
    float *log_train_sigmas;   /* [train] */
    float final_alpha_cumprod; /* below timestep 0 */

    int steps, calls, sigma_count;
    float *timesteps; /* [calls] */
    float *sigmas;    /* [sigma_count] or NULL */
    float *extra;     /* what the class planned as such */
    float init_noise_sigma;

    /* The caller's lists while a schedule is planned; NULL: not given. Their length is s->steps,
     * until plan sets the number of steps that diffusers has then. */
    const float *custom_timesteps, *custom_sigmas;

    int taken, next; /* steps since set_timesteps, and the call that must follow */
    float *buffer[DFX__MAX_BUFFERS];
    int buffers;
    size_t elements; /* of a sample and of a buffer: batch * n */
    float *mean;     /* a sample's size: the model's output without its variance */
    void *state;     /* the class's own, of a run */
    dfx_rng *rng;    /* the caller's; NULL: none */
    void *own;       /* of a scheduler of the caller's, own.c */
};

/* Reads a config: a file, or a folder with a scheduler_config.json. */
dfx_status dfx__scheduler_read(json_object **out, const char *path);

/* keys.c: adds what becomes of each of its keys. */
dfx_status dfx__scheduler_keys(dfx_config_keys *keys, const char *config);

/* config.c */

/* Every key of the class at its default. */
dfx_status dfx__scheduler_config_defaults(dfx__scheduler_config *c,
                                          const dfx__scheduler_type *type);
/* The keys of the class that a config file has; `path` names it in errors. */
dfx_status dfx__scheduler_config_from_file(dfx__scheduler_config *c,
                                           const dfx__scheduler_type *type, json_object *file,
                                           const char *path);
/* "key=value,..." of a choice. */
dfx_status dfx__scheduler_config_from_choice(dfx__scheduler_config *c,
                                             const dfx__scheduler_type *type, const char *text);
/* What holds for every class: one way of spacing sigmas, a prediction type that it takes. */
dfx_status dfx__scheduler_config_check(const dfx__scheduler_config *c,
                                       const dfx__scheduler_type *type);
/* dfx_scheduler_describe_key, of a class. */
int dfx__describe_key(const dfx__scheduler_type *type, int index, dfx_scheduler_key *out);
void dfx__scheduler_config_free(dfx__scheduler_config *c);

/* The keys that most classes have, for the rows. */
#define DFX__NOISE_KEYS(start, end, schedule)                                                      \
    "num_train_timesteps=1000,beta_start=" start ",beta_end=" end ",beta_schedule=" schedule       \
    ",trained_betas=null,prediction_type=epsilon,"
#define DFX__BETA_KEYS_FROM(start, end)                                                            \
    DFX__NOISE_KEYS(start, end, "linear")                                                          \
    "steps_offset=0,"
#define DFX__BETA_KEYS DFX__BETA_KEYS_FROM("0.0001", "0.02")
#define DFX__SD_BETA_KEYS DFX__NOISE_KEYS("0.00085", "0.012", "scaled_linear") "steps_offset=0,"
/* Of the call, for rows whose `custom` takes such lists. */
#define DFX__TIMESTEPS_KEY "timesteps=null,"
#define DFX__SIGMAS_KEY "sigmas=null,"
#define DFX__THRESHOLD_KEYS                                                                        \
    "thresholding=false,dynamic_thresholding_ratio=0.995,sample_max_value=1,"
#define DFX__SIGMA_KEYS                                                                            \
    "use_karras_sigmas=false,use_exponential_sigmas=false,use_beta_sigmas=false,sigma_min=null,"   \
    "sigma_max=null,"

/* schedule.c */

/* betas, and alphas_cumprod from them. */
dfx_status dfx__make_alphas(dfx_scheduler *s);
/* A cumulative alpha moved so that the last one is 0 and the first one stays (Lin et al. 2024,
 * algorithm 1). single: in f32. */
double dfx__rescale_alpha(double a, double first, double last, int single);
/* x, of f32's precision where single is set: where a class computes in double or in f32. */
double dfx__rounded(double x, int single);
/* alphas_cumprod at timestep t, where t < 0 counts from the end as in Python. */
float dfx__alpha_at(const dfx_scheduler *s, int t);
/* The same of a step's end, where t < 0 means final_alpha_cumprod. */
float dfx__alpha_before(const dfx_scheduler *s, int t);

/* The noise level of call i's timestep, for rows of schedulers without sigmas. */
void dfx__alpha_noise_level(const dfx_scheduler *s, int i, float *alpha, float *sigma);

/* The variance of the sample at `before` when that at a and x0 are known (Ho et al. 2020, formula
 * 7); both are cumulative alphas. */
float dfx__posterior_variance(float a, float before);

/* Element i of torch.linspace(from, to, count). */
float dfx__linspace_f32(float from, float to, int count, int i);

/* Timesteps by timestep_spacing, falling, into t[s->steps + 1]; returns how many.
 *   last    what is spread: timesteps 0 .. last - 1
 *   points  how many points linspace and leading make of that; the highest s->steps are kept */
int dfx__space_timesteps(const dfx_scheduler *s, int last, int points, double *t);
void dfx__round_all(double *t, int count); /* half to even */
void dfx__reverse(double *t, int count);

/* The caller's timesteps, cut to whole ones; DFX_ERROR_ARGUMENT unless they fall, from below
 * num_train_timesteps. */
dfx_status dfx__take_timesteps(const dfx_scheduler *s, double *t);
/* A plan without sigmas: the caller's timesteps where the class takes them, else spaced ones. */
dfx_status dfx__plan_timesteps(dfx_scheduler *s, dfx__schedule *out);
/* DFX_ERROR_ARGUMENT unless alphas_cumprod has every timestep. */
dfx_status dfx__check_timesteps(const dfx_scheduler *s, const dfx__schedule *schedule);
/* DFX_ERROR_ARGUMENT where x0 would be a division by 0: a call without signal, for a model of noise
 * and without bounds of x0. */
dfx_status dfx__check_signal(const dfx_scheduler *s, const dfx__schedule *schedule);
/* Plans s->steps steps and keeps the schedule as floats. DFX_ERROR_ARGUMENT when a value of it is
 * not finite. */
dfx_status dfx__make_schedule(dfx_scheduler *s);
/* Room for `room` values in each list of a schedule that is being planned; what they hold goes. */
dfx_status dfx__reserve_schedule(dfx__schedule *schedule, size_t room);
/* DFX_ERROR_ARGUMENT when the caller gave timesteps and this key, which spaces sigmas, is on. */
dfx_status dfx__check_custom(const dfx_scheduler *s, int on, const char *key);

/* sigmas.c */

/* alphas_cumprod, and sqrt((1 - a) / a) and its logarithm of each. */
dfx_status dfx__make_sigmas(dfx_scheduler *s);
double dfx__sigma_at(const dfx_scheduler *s, double t); /* linear between timesteps */
double dfx__sigma_to_timestep(const dfx_scheduler *s, double sigma);
/* The same with f32's rounding, for classes where diffusers asks with a tensor. */
float dfx__sigma_to_timestep_f32(const dfx_scheduler *s, float sigma);
double dfx__last_sigma(const dfx_scheduler *s); /* by final_sigmas_type */

double dfx__linspace(double from, double to, int n, int i); /* numpy.linspace(from, to, n)[i] */

/* DFX_ERROR_ARGUMENT unless 0 < sigma_min < sigma_max; for the rows of classes without betas. */
dfx_status dfx__check_sigma_range(dfx_scheduler *s);

/* The way of spacing sigmas that the keys choose; with several of them diffusers' first one. */
typedef enum {
    DFX__NO_RAMP,
    DFX__KARRAS,      /* Karras et al. 2022, rho 7 */
    DFX__LU,          /* even steps of lambda over all training timesteps (Lu et al. 2022) */
    DFX__EXPONENTIAL, /* even steps of log sigma */
    DFX__BETA,        /* quantiles of the beta distribution (Lee et al. 2024) */
    DFX__FLOW         /* flow matching: even steps of sigma = 1 - alpha, shifted */
} dfx__ramp;
dfx__ramp dfx__which_ramp(const dfx__scheduler_config *c);
/* The sigma at `part`, 0 to 1, of the way from the most to the least (Karras et al. 2022, formula
 * 5). */
double dfx__karras(double most, double least, double rho, double part);
/* n falling sigmas. All but lu and flow go from sigma_max (else `first`) to sigma_min (else
 * `last`). */
void dfx__ramp_sigmas(const dfx_scheduler *s, dfx__ramp ramp, double first, double last, int n,
                      double *sigmas);

/* Adds to x the noise that s_churn asks for at sigma (Karras et al. 2022, algorithm 2); *sigma_hat
 * is its level then. `drawn` is room for a sample. */
dfx_status dfx__churn(const dfx_scheduler *s, float sigma, float *drawn, float *x,
                      dfx_noise_function *noise, void *user, float *sigma_hat);

/* beta_quantile.c */

/* x where the regularised incomplete beta function I_x(a, a) is p; 0 <= p <= 1, 0 < a. */
double dfx__beta_quantile(double p, double a);

/* predict.c */

/* The sample that a model's output predicts, for a sample x = alpha * x0 + sigma * noise. */
void dfx__predict_x0(float *x0, int prediction, float alpha, float sigma, const float *x,
                     const float *model_output, size_t count);
/* The noise that it predicts. The output may be one of the inputs. */
void dfx__predict_noise(float *noise, int prediction, float alpha, float sigma, const float *x,
                        const float *model_output, size_t count);
/* Both, of a sample at cumulative alpha a. */
void dfx__predict(float *x0, float *noise, int prediction, float a, const float *x,
                  const float *model_output, size_t count);
/* x = of_a * a + of_b * b, of `count` values; x may be a or b. */
void dfx__mix(float *x, float of_a, const float *a, float of_b, const float *b, size_t count);
/* Thresholds or clips x0 [batch, n], as the keys say. */
void dfx__bound(const dfx__scheduler_config *c, float *x0, size_t batch, size_t n);
/* Dynamic thresholding (Saharia et al. 2022) of x0 [batch, n]. */
void dfx__threshold(const dfx__scheduler_config *c, float *x0, size_t batch, size_t n);
void dfx__clip(const dfx__scheduler_config *c, float *x0, size_t count); /* to clip_sample_range */

/* check.c */

/* What a model that knows x0 says at call i, of a sample x = alpha * x0 + sigma * noise. */
float dfx__perfect_output(const dfx_scheduler *s, int i, float x0, float x);

/* scheduler.c */

/* As dfx_scheduler_open, with keys of the file that are changed: steps_offset to 1, clip_sample to
 * false, skip_prk_steps to true. */
enum {
    DFX__REPAIR_STEPS_OFFSET = 1,
    DFX__REPAIR_CLIP_SAMPLE = 2,
    DFX__REPAIR_SKIP_PRK_STEPS = 4
};
dfx_status dfx__scheduler_open(dfx_scheduler **out, const char *config, const char *choice,
                               unsigned repairs);

/* DFX_ERROR_ARGUMENT with that reason; NULL: DFX_OK. */
dfx_status dfx__refuse(const dfx_scheduler *s, const char *wrong);
/* Makes the first `count` buffers hold a sample each. */
dfx_status dfx__reserve(dfx_scheduler *s, int count);
/* Moves the first `count` buffers up by one, the last one first: buffer[0] is free for a new one.
 */
void dfx__rotate(dfx_scheduler *s, int count);
/* *output becomes the first part of each sample's output, without the learned variance. */
dfx_status dfx__take_mean(dfx_scheduler *s, const float **output, size_t batch, size_t n);
/* Draws a buffer full of noise; fails when there is nothing to draw from. */
dfx_status dfx__draw(const dfx_scheduler *s, dfx_noise_function *noise, void *user, float *out);

#endif
