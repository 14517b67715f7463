/* selftest.c - every operator, variant and dtype on a device against the native CPU's plainest. */
#include "dfxcl/selftest.h"

#include "op/oplist.h"
#include "op/trial.h"

#include <stdio.h>
#include <string.h>

enum { SMALL_FLOPS = 40000 };

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
        dfx__case_describe(r->worst_case, sizeof r->worst_case, test);
    }
    if (worst <= 1)
        return;
    dfx__case_describe(text, sizeof text, test);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ": element %zu is off by %.3g times the tolerance", where,
             worst);
    note_failure(r, text);
}

static dfx_status run(dfx__trial *t, double *worst, size_t *where)
{
    DFX__TRY(dfx__trial_prepare(t));
    DFX__TRY(dfx_sequence_run(t->s));
    return dfx__check_call(t->s->call[0], worst, where);
}

/* Runs a case where the variant takes it; only a failure to make it at all is an error. */
static dfx_status run_case(struct row *r, dfx_device *device, const dfx_op *op,
                           const dfx__variant *variant, const dfx__case *test, int small)
{
    dfx__trial t;
    double worst = 0;
    size_t where = 0;
    DFX__TRY(dfx__trial_open(&t, device, r->row.dtype, op, test));
    t.s->forced = variant;
    if (t.s->status != DFX_OK || t.s->calls != 1)
        note_failure(r, t.s->status != DFX_OK ? t.s->message : "the case records no call");
    else if ((small && dfx__call_flops(t.s->call[0]) > SMALL_FLOPS) ||
             dfx__variant_choose(t.s->call[0]) != variant)
        r->row.skipped++;
    else {
        if (run(&t, &worst, &where) == DFX_OK)
            note_result(r, test, worst, where);
        else
            note_failure(r, dfx_error());
        r->row.cases++;
    }
    dfx__trial_close(&t);
    return DFX_OK;
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
