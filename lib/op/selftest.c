/* selftest.c - every operator, variant and dtype on a device against the native CPU's plainest. */
#include "dfxcl/selftest.h"

#include "core/dtype.h"
#include "dfxcl/rng.h"
#include "op/oplist.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_FLOPS = 40000, MAX_TIMESTEP = 1000 };

/* A case as it is built: its sequence, and the constants it needs. */
struct trial {
    dfx_sequence *s;
    dfx_weight weight[DFX__MAX_INPUTS];
    void *data[DFX__MAX_INPUTS];
    dfx_value *in[DFX__MAX_INPUTS];
    int64_t rows; /* of the constant that indices point into */
};

/* "2,17,31" to a shape. */
static void parse_shape(dfx_spec *spec, const char *text)
{
    char *end = (char *)text;
    for (spec->rank = 0; *end && spec->rank < DFX_MAX_RANK; spec->rank++) {
        spec->dim[spec->rank] = strtoll(end, &end, 10);
        end += *end == ',';
    }
}

/* What input k is: 'w' a constant, 'i' indices, 't' timesteps, 0 an activation. A vector beside
 * other inputs is a bias or a norm's scale: a constant too. */
static char kind_of(const dfx__case *test, int k)
{
    const char *text = test->in[k];
    if (*text == 'w' || *text == 'i' || *text == 't')
        return *text;
    return k > 0 && !strchr(text, ',') ? 'w' : 0;
}

static const char *shape_of(const char *text)
{
    return text + (*text == 'w' || *text == 'i' || *text == 't');
}

/* Normal numbers; a constant's are scaled so that sums over its rows stay near 1. */
static dfx_status fill(void **out, const dfx_spec *spec, char kind, int64_t rows, dfx_rng *rng)
{
    size_t n = dfx__elements(spec);
    float *room = dfx__alloc(n, sizeof *room);
    *out = dfx__alloc(n, sizeof(float));
    if (!room || !*out) {
        free(room);
        return dfx__no_memory();
    }
    dfx_rng_normal(rng, room, n);
    float factor = kind == 'w' ? 1 / sqrtf((float)n / (float)spec->dim[0]) : 1;
    for (size_t i = 0; i < n; i++) {
        if (kind == 'i')
            ((int32_t *)*out)[i] = (int32_t)((int64_t)(fabsf(room[i]) * 1e4f) % rows);
        else if (kind == 't')
            room[i] = fmodf(fabsf(room[i]) * 400, MAX_TIMESTEP);
        else
            room[i] *= factor;
    }
    if (kind != 'i')
        dfx__from_f32(*out, spec->dtype, room, n);
    free(room);
    return DFX_OK;
}

static dfx_status add_constant(struct trial *t, const char *text, int k, dfx_rng *rng)
{
    dfx_weight *w = &t->weight[k];
    w->name = "constant";
    w->spec.dtype = DFX_F32;
    parse_shape(&w->spec, shape_of(text));
    DFX__TRY(fill(&t->data[k], &w->spec, 'w', 0, rng));
    w->data = t->data[k];
    t->rows = w->spec.dim[0];
    t->in[k] = dfx_constant(t->s, w);
    return DFX_OK;
}

static dfx_status add_input(struct trial *t, const char *text, char kind, int k, dfx_rng *rng)
{
    char name[4] = { 'i', 'n', (char)('0' + k), 0 };
    dfx_spec spec = { kind == 'i' ? DFX_I32 : kind == 't' ? DFX_F32 : t->s->dtype, 0, { 0 } };
    parse_shape(&spec, shape_of(text));
    DFX__TRY(fill(&t->data[k], &spec, kind, t->rows, rng));
    t->in[k] = dfx_input(t->s, name, spec.dtype, spec.rank, spec.dim);
    return DFX_OK;
}

/* Constants first: indices need to know how many rows theirs has. */
static dfx_status build(struct trial *t, const dfx_op *op, const dfx__case *test, dfx_rng *rng)
{
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < DFX__MAX_INPUTS; k++) {
            const char *text = test->in[k];
            char kind = text ? kind_of(test, k) : 0;
            if (!text || (kind == 'w') != (pass == 0))
                continue;
            DFX__TRY(pass == 0 ? add_constant(t, text, k, rng) : add_input(t, text, kind, k, rng));
        }
    dfx__inputs in;
    dfx__ints i;
    dfx__floats f;
    memcpy(in.v, t->in, sizeof in.v);
    memcpy(i.v, test->i, sizeof i.v);
    memcpy(f.v, test->f, sizeof f.v);
    dfx_output(dfx__record(op, in, i, f), "out");
    return DFX_OK;
}

static dfx_status run(struct trial *t, const dfx__case *test, double *worst, size_t *where)
{
    char name[4] = "in0";
    DFX__TRY(dfx_sequence_prepare(t->s));
    for (int k = 0; k < DFX__MAX_INPUTS; k++) {
        name[2] = (char)('0' + k);
        if (test->in[k] && kind_of(test, k) != 'w')
            DFX__TRY(dfx_sequence_write(t->s, name, t->data[k], dfx__spec_bytes(&t->in[k]->spec)));
    }
    DFX__TRY(dfx_sequence_run(t->s));
    return dfx__check_call(t->s->call[0], worst, where);
}

/* The inputs of a case, as they stand in the operator's file. */
static void describe(char *text, size_t size, const dfx__case *test)
{
    text[0] = '\0';
    for (int k = 0; k < DFX__MAX_INPUTS; k++)
        if (test->in[k]) {
            size_t n = strlen(text);
            snprintf(text + n, size - n, "%s%s", n ? " " : "", test->in[k]);
        }
}

/* What is told of one row; the texts live as long as the report's call. */
struct row {
    dfx_selftest_row row;
    char worst_case[128], message[512];
};

static void note_failure(struct row *r, const char *message)
{
    if (r->row.failed++ == 0)
        snprintf(r->message, sizeof r->message, "%s", message);
}

static void note_result(struct row *r, const dfx__case *test, double worst, size_t where)
{
    char text[256];
    if (worst > r->row.worst || r->row.cases == 0) {
        r->row.worst = worst;
        describe(r->worst_case, sizeof r->worst_case, test);
    }
    if (worst <= 1)
        return;
    describe(text, sizeof text, test);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ": element %zu is off by %.3g times the tolerance", where,
             worst);
    note_failure(r, text);
}

/* Runs a case where the variant takes it; only a failure to make it at all is an error. */
static dfx_status run_case(struct row *r, dfx_device *device, const dfx_op *op,
                           const dfx__variant *variant, const dfx__case *test, int small)
{
    struct trial t = { .rows = 1 };
    dfx_rng rng;
    double worst = 0;
    size_t where = 0;
    dfx_rng_seed(&rng, 1);
    DFX__TRY(dfx_sequence_new(&t.s, device, r->row.dtype));
    t.s->forced = variant;
    dfx_status status = build(&t, op, test, &rng);
    if (status == DFX_OK && t.s->status == DFX_OK && t.s->calls == 1) {
        const dfx_call *c = t.s->call[0];
        double work = op->flops ? op->flops(c) : (double)dfx__elements(&c->out->spec);
        if ((small && work > SMALL_FLOPS) || dfx__variant_choose(c) != variant)
            r->row.skipped++;
        else {
            if (run(&t, test, &worst, &where) == DFX_OK)
                note_result(r, test, worst, where);
            else
                note_failure(r, dfx_error());
            r->row.cases++;
        }
    } else if (status == DFX_OK)
        note_failure(r, t.s->status != DFX_OK ? t.s->message : "the case records no call");
    dfx_sequence_free(t.s);
    for (int k = 0; k < DFX__MAX_INPUTS; k++)
        free(t.data[k]);
    return status;
}

static dfx_status run_row(dfx_device *device, const dfx_op *op, const dfx__variant *variant,
                          dfx_dtype dtype, int small, dfx_selftest_function *report, void *user,
                          int *failed)
{
    struct row r = { .row = { .op = op->name, .variant = variant->name, .dtype = dtype } };
    r.row.tolerance = op->tolerance * 1e-6;
    r.row.worst_case = r.worst_case;
    r.row.message = r.message;
    for (const dfx__case *test = op->cases; test->in[0]; test++)
        DFX__TRY(run_case(&r, device, op, variant, test, small));
    *failed += r.row.failed;
    if (r.row.cases || r.row.failed)
        report(user, &r.row);
    return DFX_OK;
}

static const dfx__variant *variants(const dfx_device *device, const dfx_op *op)
{
    return device->is_native ? op->cpu : op->cl;
}

/* On the native CPU all but the reference, its last one; the others' lists end without a name. */
static int is_tested(const dfx_device *device, const dfx_op *op, const dfx__variant *v)
{
    return device->is_native ? v != dfx__variant_reference(op) : v->name != NULL;
}

dfx_status dfx_selftest(dfx_device *device, const char *op, int small,
                        dfx_selftest_function *report, void *user, int *failed)
{
    static const dfx_dtype dtypes[] = { DFX_F32, DFX_F16, DFX_BF16 };
    int found = 0;
    *failed = 0;
    for (int i = 0; i < dfx__op_count; i++) {
        const dfx_op *o = dfx__ops[i];
        if (op && strcmp(op, o->name) != 0)
            continue;
        found = 1;
        for (const dfx__variant *v = variants(device, o); is_tested(device, o, v); v++)
            for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
                if (dfx__interrupted())
                    return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
                DFX__TRY(run_row(device, o, v, dtypes[d], small, report, user, failed));
            }
    }
    return found ? DFX_OK : dfx__fail(DFX_ERROR_ARGUMENT, "there is no operator '%s'", op);
}
