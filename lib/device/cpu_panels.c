/* cpu_panels.c - the native CPU's product of rows with a weight in panels.
 *
 * A task is a strip of tiles under each other in a few panels. It goes through the sum in blocks: a
 * block of a panel stays in the first-level cache while the strip's tiles use it; the strip's rows
 * and accumulators stay in the second level. What is stored in half precision is widened block by
 * block: the rows once for all panels of the task, a panel by the first of the strip's tiles while
 * that is multiplied. bf16 in pairs is multiplied as it lies; only the end of a row of odd length
 * is copied, to add a zero.
 *
 * With DFX_GEGLU a task sums a panel of values and one of gates for each panel of the result. */
#include "device/cpu_panels.h"

#include "device/cpu_kernels.h"

#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum { BLOCK = 128, STRIP = 8, GROUP = 4, PANEL = DFX__TILE_COLUMNS, ROWS = DFX__TILE_ROWS };
enum { PAIRS = 4 * BLOCK }; /* elements of a block in pairs */

/* Elements of a row that is not there: of a block, or of one in pairs. */
static const float zeros[PAIRS * sizeof(uint16_t) / sizeof(float)];
_Static_assert(sizeof zeros >= BLOCK * sizeof(float), "a block of zeros");

/* What a thread works in. */
typedef struct {
    float acc[GROUP][STRIP * ROWS * PANEL]; /* sums of tiles */
    float first[GROUP][PANEL];              /* what they begin with */
    union {
        float rows[STRIP * ROWS * BLOCK];
        uint16_t ends[STRIP * ROWS * PAIRS]; /* of rows of odd length */
    };
    float panel[BLOCK * PANEL];
    const void *pixel[STRIP * ROWS];     /* where rows lie for a tap */
    const float *row[STRIP * ROWS];      /* where their block lies as floats */
    const uint16_t *pairs[STRIP * ROWS]; /* and in pairs */
} workspace;

/* Rows and panels of the result that a task computes: where it begins, and how many. */
typedef struct {
    int64_t row, panel;
    int rows, tiles, panels;
    int sums; /* accumulated panels of the weight */
} task;

/* Panels of the weight for one of the result. */
static int sums_of_panel(const dfx__panels_job *job)
{
    return job->activation == DFX_GEGLU ? 2 : 1;
}

/* The weight's panel of a sum: with DFX_GEGLU values and gates take turns. */
static int64_t panel_of(const dfx__panels_job *job, const task *t, int sum)
{
    if (job->activation != DFX_GEGLU)
        return t->panel + sum;
    return t->panel + sum / 2 + sum % 2 * (job->columns / PANEL);
}

/* Columns of one of the weight's panels. */
static int columns_of(const dfx__panels_job *job, int64_t panel)
{
    int64_t left = job->columns * sums_of_panel(job) - panel * PANEL;
    return left < PANEL ? (int)left : PANEL;
}

static float *tile_of(const struct dfx__cpu_kernels *kernels, workspace *w, int sum, int tile)
{
    return w->acc[sum] + tile * kernels->rows * PANEL;
}

/* The sums begin as the bias. */
static void begin(const dfx__panels_job *job, workspace *w, const task *t)
{
    for (int s = 0; s < t->sums; s++) {
        int64_t panel = panel_of(job, t, s);
        memset(w->first[s], 0, sizeof w->first[s]);
        if (job->bias)
            memcpy(w->first[s], job->bias + panel * PANEL,
                   (size_t)columns_of(job, panel) * sizeof(float));
    }
}

/* What a sum begins with, where these are its first elements. */
static const float *first_of(const workspace *w, int sum, int tap, int64_t k)
{
    return tap == 0 && k == 0 ? w->first[sum] : NULL;
}

/* Elements k .. k + n of the rows as floats. */
static void load_rows(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job,
                      workspace *w, int rows, int64_t k, size_t n)
{
    for (int r = 0; r < rows; r++) {
        if (!w->pixel[r])
            w->row[r] = zeros;
        else if (job->dtype == DFX_F32)
            w->row[r] = (const float *)w->pixel[r] + k;
        else {
            float *to = w->rows + r * BLOCK;
            kernels->widen(to, (const uint16_t *)w->pixel[r] + k, job->dtype, n);
            w->row[r] = to;
        }
    }
}

/* Adds elements k .. k + n of one tap. */
static void add_block(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job,
                      workspace *w, const task *t, int tap, int64_t k, size_t n)
{
    size_t size = dfx_dtype_size(job->weight_dtype);
    load_rows(kernels, job, w, t->tiles * kernels->rows, k, n);
    for (int s = 0; s < t->sums; s++) {
        int64_t line = (panel_of(job, t, s) * job->taps + tap) * job->k + k;
        const void *weight = (const char *)job->panels + (size_t)line * PANEL * size;
        const float *panel = weight, *first = first_of(w, s, tap, k);
        int i = 0;
        if (job->weight_dtype != DFX_F32) {
            kernels->tile_widening(tile_of(kernels, w, s, i++), first, w->row, weight,
                                   job->weight_dtype, w->panel, n);
            panel = w->panel;
        }
        for (; i < t->tiles; i++)
            kernels->tile(tile_of(kernels, w, s, i), first, w->row + i * kernels->rows, panel, n);
    }
}

/* Elements k .. k + n of the rows in pairs. */
static void place_pairs(workspace *w, int rows, int64_t k, size_t n)
{
    for (int r = 0; r < rows; r++) {
        const uint16_t *from = w->pixel[r];
        w->pairs[r] = from ? from + k : (const uint16_t *)zeros;
        if (from && n % 2) {
            uint16_t *to = w->ends + r * PAIRS;
            memcpy(to, from + k, n * sizeof *to);
            to[n] = 0;
            w->pairs[r] = to;
        }
    }
}

/* add_block for panels in pairs. */
static void add_pairs(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job,
                      workspace *w, const task *t, int tap, int64_t k, size_t n)
{
    place_pairs(w, t->tiles * kernels->rows, k, n);
    for (int s = 0; s < t->sums; s++) {
        int64_t line = (panel_of(job, t, s) * job->taps + tap) * ((job->k + 1) / 2) + k / 2;
        const uint16_t *panel = (const uint16_t *)job->panels + line * PANEL * 2;
        for (int i = 0; i < t->tiles; i++)
            kernels->tile_pairs(tile_of(kernels, w, s, i), first_of(w, s, tap, k),
                                w->pairs + i * kernels->rows, panel, (n + 1) / 2);
    }
}

/* All sums of a task. */
static void scale_sums(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job,
                       workspace *w, const task *t)
{
    for (int s = 0; s < t->sums; s++)
        for (int i = 0; i < t->tiles * kernels->rows * PANEL; i++)
            w->acc[s][i] *= job->scale;
}

static void add_channels(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job,
                         workspace *w, const task *t, int sum)
{
    int64_t panel = panel_of(job, t, sum), columns = job->columns * sums_of_panel(job);
    for (int r = 0; r < t->rows; r++) {
        float line[PANEL] = { 0 }, *to = w->acc[sum] + r * PANEL;
        int64_t at = (t->row + r) / job->image * columns + panel * PANEL;
        kernels->widen(line, (const char *)job->channels + (size_t)at * dfx_dtype_size(job->dtype),
                       job->dtype, (size_t)columns_of(job, panel));
        for (int i = 0; i < PANEL; i++)
            to[i] += line[i];
    }
}

/* The activation, over all tiles of a panel of the result; its values come to lie in the panel's
 * first sum. */
static void activate(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job,
                     workspace *w, const task *t, int panel)
{
    float *sum = w->acc[panel * sums_of_panel(job)];
    size_t n = (size_t)(t->tiles * kernels->rows * PANEL);
    switch (job->activation) {
    case DFX_IDENTITY:
        break;
    case DFX_SILU:
        kernels->math->silu(sum, sum, n);
        break;
    case DFX_GELU:
        kernels->math->gelu(sum, sum, n);
        break;
    case DFX_QUICK_GELU:
        kernels->math->quick_gelu(sum, sum, n);
        break;
    case DFX_GEGLU:
        kernels->math->geglu(sum, sum, w->acc[2 * panel + 1], DFX_F32, n);
        break;
    }
}

static void store(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job, workspace *w,
                  const task *t, int panel)
{
    size_t size = dfx_dtype_size(job->dtype), n = (size_t)columns_of(job, t->panel + panel);
    for (int i = 0; i < t->tiles; i++) {
        int first = i * kernels->rows, left = t->rows - first;
        int64_t at = (t->row + first) * job->stride + (t->panel + panel) * PANEL;
        kernels->store_tile((char *)job->out + (size_t)at * size, (size_t)job->stride,
                            job->add ? (const char *)job->add + (size_t)at * size : NULL,
                            job->dtype, tile_of(kernels, w, panel * sums_of_panel(job), i),
                            left < kernels->rows ? left : kernels->rows, n);
    }
}

static void do_task(const struct dfx__cpu_kernels *kernels, const dfx__panels_job *job,
                    workspace *w, const task *t)
{
    int64_t block = job->pairs ? PAIRS : BLOCK;
    begin(job, w, t);
    memset(w->pixel, 0, sizeof w->pixel); /* a last tile may have fewer rows */
    for (int tap = 0; tap < job->taps; tap++) {
        job->locate(job, w->pixel, t->row, t->rows, tap);
        for (int64_t k = 0; k < job->k; k += block)
            (job->pairs ? add_pairs : add_block)(kernels, job, w, t, tap, k,
                                                 (size_t)(job->k - k < block ? job->k - k : block));
    }
    if (job->scale != 1)
        scale_sums(kernels, job, w, t);
    for (int s = 0; job->channels && s < t->sums; s++)
        add_channels(kernels, job, w, t, s);
    for (int p = 0; p < t->panels; p++) {
        activate(kernels, job, w, t, p);
        store(kernels, job, w, t, p);
    }
}

/* Tiles and panels of a task: fewer where the tasks would not reach all threads. */
static void task_size(task *t, const dfx__panels_job *job, int64_t jobs, int64_t tiles,
                      int64_t panels)
{
    int64_t threads = 1, group = GROUP / sums_of_panel(job);
#ifdef _OPENMP
    threads = omp_get_max_threads();
#endif
    t->tiles = tiles < STRIP ? (int)tiles : STRIP;
    t->panels = panels < group ? (int)panels : (int)group;
    while (t->panels > 1 && jobs * (tiles / t->tiles) * (panels / t->panels) < 4 * threads)
        t->panels--;
    while (t->tiles > 1 && jobs * (tiles / t->tiles) * panels < 4 * threads)
        t->tiles--;
}

int dfx__cpu_takes_pairs(dfx_dtype dtype)
{
    return dtype == DFX_BF16 && dfx__cpu_kernels()->tile_pairs;
}

void dfx__locate_rows(const dfx__panels_job *job, const void **row, int64_t first, int count,
                      int tap)
{
    size_t bytes = (size_t)job->user_stride * dfx_dtype_size(job->dtype);
    (void)tap;
    for (int i = 0; i < count; i++)
        row[i] = (const char *)job->user + (size_t)(first + i) * bytes;
}

void dfx__cpu_panels(const dfx__panels_job *job, int64_t jobs)
{
    const struct dfx__cpu_kernels *kernels = dfx__cpu_kernels();
    int64_t panels = (job->columns + PANEL - 1) / PANEL;
    int64_t tiles = (job->rows + kernels->rows - 1) / kernels->rows;
    task whole = { 0 };
    task_size(&whole, job, jobs, tiles, panels);
    int64_t height = (int64_t)whole.tiles * kernels->rows;
#pragma omp parallel
    {
        workspace w;
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t j = 0; j < jobs; j++)
            for (int64_t panel = 0; panel < panels; panel += whole.panels)
                for (int64_t row = 0; row < job->rows; row += height) {
                    int64_t rows = job->rows - row, width = panels - panel;
                    task t = { row,
                               panel,
                               (int)(rows < height ? rows : height),
                               0,
                               (int)(width < whole.panels ? width : whole.panels),
                               0 };
                    t.tiles = (t.rows + kernels->rows - 1) / kernels->rows;
                    t.sums = t.panels * sums_of_panel(job);
                    do_task(kernels, &job[j], &w, &t);
                }
    }
}
