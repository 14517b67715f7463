/* bench_schedulers.c - how fast each scheduler converges, on a model whose noise is known exactly;
 * prints JSON lines for convergence.py.
 *
 * The data is a mixture of Gaussians in the plane, for which E[x0 | x] has a closed form at every
 * noise level. A sample x = alpha * x0 + sigma * noise is z = x / (alpha + sigma) at the time
 * tau = sigma / (alpha + sigma) of flow matching, and in z and tau the probability-flow ODE of
 * every scheduler is the same one (Karras et al. 2022, section 2): one reference serves all. */
#include "dfxcl/rng.h"
#include "scheduler/scheduler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CENTRES = 6,
    DRAWN = 512,         /* samples whose error is measured */
    DISTRIBUTED = 20000, /* samples whose distribution is */
    REFERENCE = 2000,    /* steps of Runge and Kutta's fourth-order method */
    DIRECTIONS = 8,
    GRID = 4000
};

static const int step_counts[] = { 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 56, 80, 100 };

/* Where a class has these keys they are set so: the same noise levels for all, any number of steps,
 * no step ends above level 0 or bends samples. */
static const char *const settings[] = {
    "beta_schedule=linear",   "beta_start=0.0001",           "beta_end=0.02",
    "clip_sample=false",      "clip_denoised=false",         "set_alpha_to_one=true",
    "set_alpha_to_zero=true", "intermediate_timesteps=null",
};

static const double centre[CENTRES][2] = { { 1, 0 },       { 0.3, 0.9 }, { -0.8, 0.7 },
                                           { -1.1, -0.2 }, { -0.2, -1 }, { 0.7, -0.8 } };
static const double weight[CENTRES] = { 0.3, 0.1, 0.2, 0.1, 0.2, 0.1 };
static const double spread = 0.3;

/* How likely each centre is for a sample at that level. */
static void responsibilities(const double x[2], double alpha, double sigma, double out[CENTRES])
{
    double variance = alpha * alpha * spread * spread + sigma * sigma, most = -INFINITY, sum = 0;
    for (int k = 0; k < CENTRES; k++) {
        double dx = x[0] - alpha * centre[k][0], dy = x[1] - alpha * centre[k][1];
        out[k] = log(weight[k]) - (dx * dx + dy * dy) / (2 * variance);
        most = fmax(most, out[k]);
    }
    for (int k = 0; k < CENTRES; k++)
        sum += out[k] = exp(out[k] - most);
    for (int k = 0; k < CENTRES; k++)
        out[k] /= sum;
}

/* E[x0 | x] */
static void denoise(const double x[2], double alpha, double sigma, double out[2])
{
    double part[CENTRES], variance = alpha * alpha * spread * spread + sigma * sigma;
    double pull = alpha * spread * spread / variance;
    responsibilities(x, alpha, sigma, part);
    out[0] = out[1] = 0;
    for (int k = 0; k < CENTRES; k++)
        for (int d = 0; d < 2; d++)
            out[d] += part[k] * (centre[k][d] + pull * (x[d] - alpha * centre[k][d]));
}

/* dz / dtau = E[noise - x0 | z], in a form without a division by tau. */
static void velocity(const double z[2], double tau, double out[2])
{
    double part[CENTRES], alpha = 1 - tau;
    double variance = alpha * alpha * spread * spread + tau * tau;
    responsibilities(z, alpha, tau, part);
    for (int d = 0; d < 2; d++) {
        out[d] = z[d] * (tau - alpha * spread * spread) / variance;
        for (int k = 0; k < CENTRES; k++)
            out[d] -= part[k] * centre[k][d] * tau / variance;
    }
}

/* Takes z from tau to 0. */
static void solve_exactly(double z[2], double tau)
{
    double h = -tau / REFERENCE, k[4][2], at[2];
    static const double where[] = { 0, 0.5, 0.5, 1 };
    for (int i = 0; i < REFERENCE; i++) {
        for (int stage = 0; stage < 4; stage++) {
            for (int d = 0; d < 2; d++)
                at[d] = z[d] + (stage ? where[stage] * h * k[stage - 1][d] : 0);
            velocity(at, tau * (REFERENCE - i) / REFERENCE + where[stage] * h, k[stage]);
        }
        for (int d = 0; d < 2; d++)
            z[d] += h / 6 * (k[0][d] + 2 * k[1][d] + 2 * k[2][d] + k[3][d]);
    }
}

/* The noise level of call i: alpha and sigma. */
static void level_of(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    dfx_scheduler_add_noise(s, i, &(float){ 1 }, &(float){ 0 }, alpha, 1, 1);
    dfx_scheduler_add_noise(s, i, &(float){ 0 }, &(float){ 1 }, sigma, 1, 1);
}

/* The level that the model is told at call i. It is another one than call i's where a solver calls
 * the model within a step, as KDPM2 does; a model of noise tells, for it says x / sigma - x0 *
 * alpha / sigma, where alpha is 1. */
static void model_level(const dfx_scheduler *s, int i, float *alpha, float *sigma)
{
    float of_x = dfx__perfect_output(s, i, 0, 1), of_x0 = dfx__perfect_output(s, i, 1, 0);
    level_of(s, i, alpha, sigma);
    if (*alpha == 1 && of_x > 0 && of_x == -of_x0)
        *sigma = 1 / of_x;
}

/* Exact samples [n, 2] of a noise level. */
static void draw_samples(float alpha, float sigma, float *x, size_t n)
{
    float drawn[5];
    dfx_rng rng;
    dfx_rng_seed(&rng, 1);
    for (size_t i = 0; i < n; i++) {
        int k = 0;
        dfx_rng_uniform(&rng, drawn, 1);
        dfx_rng_normal(&rng, drawn + 1, 4);
        for (double u = drawn[0]; k < CENTRES - 1 && u >= weight[k]; k++)
            u -= weight[k];
        for (int d = 0; d < 2; d++) {
            double x0 = centre[k][d] + spread * drawn[1 + d];
            x[2 * i + (size_t)d] = (float)(alpha * x0 + sigma * drawn[3 + d]);
        }
    }
}

static void start_samples(const dfx_scheduler *s, float *x, size_t n)
{
    float alpha, sigma;
    level_of(s, 0, &alpha, &sigma);
    draw_samples(alpha, sigma, x, n);
}

/* What a step draws from. */
struct noise {
    dfx_rng rng;
    int drawn;
};

static void draw(void *user, float *out, size_t n)
{
    struct noise *noise = user;
    noise->drawn = 1;
    dfx_rng_normal(&noise->rng, out, n);
}

/* All calls on x [n, 2]; *drawn: whether any of them drew noise, or took it from the Brownian
 * motion that the state of a run is. */
static dfx_status run_steps(dfx_scheduler *s, float *x, size_t n, int *drawn)
{
    struct noise noise = { .drawn = s->type->state_size > 0 };
    dfx_status status = DFX_OK;
    float *output = malloc(2 * n * sizeof *output);
    dfx_rng_seed(&noise.rng, 2);
    dfx_scheduler_set_generator(s, &noise.rng);
    for (int i = 0; i < dfx_scheduler_calls(s) && status == DFX_OK && output; i++) {
        float alpha, sigma;
        model_level(s, i, &alpha, &sigma);
        for (size_t k = 0; k < n; k++) {
            double x0[2];
            denoise((double[]){ x[2 * k], x[2 * k + 1] }, alpha, sigma, x0);
            for (size_t d = 0; d < 2; d++)
                output[2 * k + d] = dfx__perfect_output(s, i, (float)x0[d], x[2 * k + d]);
        }
        status = dfx_scheduler_step(s, i, output, x, n, 2, draw, &noise);
    }
    free(output);
    dfx_scheduler_set_generator(s, NULL);
    *drawn = noise.drawn;
    return status;
}

/* Root of the mean squared distance to the exact solution from the same start. */
static double error_of(const dfx_scheduler *s, const float *x)
{
    static double exact[DRAWN][2], solved_from = -1; /* most schedulers start at the same level */
    float start[2 * DRAWN], alpha, sigma;
    double sum = 0;
    level_of(s, 0, &alpha, &sigma);
    double tau = sigma / ((double)alpha + sigma);
    start_samples(s, start, DRAWN);
    for (int i = 0; i < DRAWN && tau != solved_from; i++) {
        for (int d = 0; d < 2; d++)
            exact[i][d] = start[2 * i + d] / ((double)alpha + sigma);
        solve_exactly(exact[i], tau);
    }
    solved_from = tau;
    for (int i = 0; i < DRAWN; i++)
        for (int d = 0; d < 2; d++)
            sum += pow(x[2 * i + d] - exact[i][d], 2);
    return sqrt(sum / DRAWN);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The Wasserstein distance of order 1 to the data along a direction: the area between the samples'
 * distribution function and the exact one. `room` is for n numbers. */
static double distance_along(const float *x, size_t n, double angle, double *room)
{
    const double reach = 8, c = cos(angle), s = sin(angle);
    double area = 0;
    size_t below = 0;
    for (size_t i = 0; i < n; i++)
        room[i] = c * x[2 * i] + s * x[2 * i + 1];
    qsort(room, n, sizeof *room, compare);
    for (int g = 0; g < GRID; g++) {
        double at = reach * (2 * (g + 0.5) / GRID - 1), exact = 0;
        for (int k = 0; k < CENTRES; k++) {
            double mean = c * centre[k][0] + s * centre[k][1];
            exact += weight[k] * erfc((mean - at) / (spread * M_SQRT2)) / 2;
        }
        while (below < n && room[below] <= at)
            below++;
        area += fabs((double)below / (double)n - exact) * 2 * reach / GRID;
    }
    return area;
}

static double distance_of(const float *x, size_t n)
{
    double sum = 0, *room = malloc(n * sizeof *room);
    for (size_t i = 0; i < 2 * n; i++)
        if (!isfinite(x[i]))
            sum = NAN;
    for (int i = 0; i < DIRECTIONS && room; i++)
        sum += distance_along(x, n, M_PI * i / DIRECTIONS, room);
    free(room);
    return sum / DIRECTIONS;
}

/* NAME[,key=value...] with those of `settings` that its class has; the given keys come last. */
static void make_choice(char *choice, size_t size, const char *given)
{
    dfx_scheduler_key key;
    const char *keys = given + strcspn(given, ",");
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(keys - given), given);
    size_t used = (size_t)snprintf(choice, size, "%s", name);
    for (int k = 0; dfx_scheduler_describe_key(name, k, &key); k++)
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
            if (strncmp(settings[i], key.name, strlen(key.name)) == 0 &&
                settings[i][strlen(key.name)] == '=' && used < size)
                used += (size_t)snprintf(choice + used, size - used, ",%s", settings[i]);
    if (used < size)
        snprintf(choice + used, size - used, "%s", keys);
}

/* Whether the steps go from data to noise. */
static int is_inverse(const dfx_scheduler *s)
{
    float alpha, sigma, last_alpha, last_sigma;
    level_of(s, 0, &alpha, &sigma);
    level_of(s, dfx_scheduler_calls(s) - 1, &last_alpha, &last_sigma);
    return sigma * last_alpha < last_sigma * alpha;
}

/* The error after `steps` steps, or where they draw noise the distance. */
static dfx_status measure(dfx_scheduler *s, int steps, int *drawn, double *value)
{
    static float x[2 * DISTRIBUTED];
    dfx_status status = dfx_scheduler_set_timesteps(s, steps);
    if (status != DFX_OK)
        return status;
    start_samples(s, x, DRAWN);
    status = run_steps(s, x, DRAWN, drawn);
    if (status != DFX_OK || !*drawn) {
        *value = error_of(s, x);
        return status;
    }
    status = dfx_scheduler_set_timesteps(s, steps);
    start_samples(s, x, DISTRIBUTED);
    if (status == DFX_OK)
        status = run_steps(s, x, DISTRIBUTED, drawn);
    *value = distance_of(x, DISTRIBUTED);
    return status;
}

/* A line for each number of steps: steps, calls of the model, error or distance. */
static void print_points(dfx_scheduler *s)
{
    const char *between = "\n  ";
    for (size_t i = 0; i < sizeof step_counts / sizeof *step_counts; i++) {
        double value;
        int drawn, steps = step_counts[i];
        if (measure(s, steps, &drawn, &value) != DFX_OK || !isfinite(value)) {
            fprintf(stderr, "%s, %d steps: %s\n", dfx_scheduler_class(s), steps, dfx_error());
            continue;
        }
        printf("%s{\"steps\": %d, \"calls\": %d, \"%s\": %.4g}", between, steps,
               dfx_scheduler_calls(s), drawn ? "distance" : "error", value);
        between = ",\n  ";
    }
}

static void measure_all(const char *name)
{
    char choice[1024];
    dfx_scheduler *s;
    make_choice(choice, sizeof choice, name);
    if (dfx_scheduler_open(&s, NULL, choice) != DFX_OK ||
        dfx_scheduler_set_timesteps(s, 20) != DFX_OK) {
        fprintf(stderr, "%s: %s\n", choice, dfx_error());
    } else if (is_inverse(s)) {
        fprintf(stderr, "%s: goes from data to noise\n", choice);
    } else {
        printf("{\"class\": \"%s\", \"name\": \"%s\", \"flow\": %s, \"points\": [",
               dfx_scheduler_class(s), name,
               s->config.prediction_type == DFX__FLOW_PREDICTION ? "true" : "false");
        print_points(s);
        printf("]}\n");
    }
    dfx_scheduler_free(s);
}

/* A short name as its class spaces steps, and spaced as Karras et al. do where it can. */
static void measure_spacings(const dfx_scheduler_name *n)
{
    char choice[256];
    dfx_scheduler_key key;
    int can = 0;
    if (strstr(n->name, "Scheduler") || strstr(n->keys, "use_karras_sigmas"))
        return; /* another class of diffusers' with the same steps; or what is measured below */
    measure_all(n->name);
    for (int k = 0; dfx_scheduler_describe_key(n->name, k, &key) && !can; k++)
        can = strcmp(key.name, "use_karras_sigmas") == 0;
    snprintf(choice, sizeof choice, "%s,use_karras_sigmas=true", n->name);
    if (can)
        measure_all(choice);
}

/* NAME[,key=value...]... to measure; without any all of them. */
int main(int argc, char **argv)
{
    static float x[2 * DISTRIBUTED];
    dfx_scheduler_info info;
    for (int i = 1; i < argc; i++)
        measure_all(argv[i]);
    for (int i = 0; argc < 2 && dfx_scheduler_describe(i, &info); i++)
        for (const dfx_scheduler_name *n = info.names; n->name; n++)
            measure_spacings(n);
    draw_samples(1, 0, x, DISTRIBUTED);
    printf("{\"name\": \"exact samples\", \"distance\": %.4g}\n", distance_of(x, DISTRIBUTED));
    return 0;
}
