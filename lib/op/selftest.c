/* selftest.c - every operator, variant and dtype on a device against the native CPU's plainest. */
#include "dfxcl/selftest.h"

#include "device/faults.h"
#include "op/oplist.h"
#include "op/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_FLOPS = 40000 };

struct test {
    dfx_device *device;
    int small, spare;
    int fatal; /* it is the turn of those at which a process ended, else of all others */
    dfx_selftest_function *report;
    void *user;
    int failed;
};

/* What is told of one row; the texts live as long as the report's call. */
struct row {
    dfx_selftest_row row;
    dfx__way way;
    int tried;  /* stands in the device's file as fatal */
    int wrong;  /* the variant is to blame, not a lack of memory or a kernel file */
    int broken; /* the device failed, and may not answer any more */
    char worst_case[128], message[512];
};

static void note_failure(struct row *r, const char *message)
{
    if (r->row.failed++ == 0)
        snprintf(r->message, sizeof r->message, "%s", message);
}

static void note_result(struct row *r, const dfx__case *test, const dfx__difference *d)
{
    char text[384];
    if (d->worst > r->row.worst || !r->worst_case[0]) {
        r->row.worst = d->worst;
        r->row.worst_index = d->where;
        r->row.expected = d->want;
        r->row.got = d->got;
        dfx__case_describe(r->worst_case, sizeof r->worst_case, test);
    }
    if (d->worst <= 1)
        return;
    dfx__case_describe(text, sizeof text, test);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ": element %zu is %.9g, not %.9g: %.3g times the tolerance",
             d->where, d->got, d->want, d->worst);
    note_failure(r, text);
    r->wrong = 1;
}

static dfx_status run(struct row *r, dfx__trial *t, dfx__difference *d)
{
    dfx_status status = dfx__trial_prepare(t);
    if (status == DFX_OK) {
        status = dfx_sequence_run(t->s);
        r->broken |= status != DFX_OK;
    }
    if (status == DFX_OK) {
        status = dfx__check_call(t->s->call[0], d); /* which needs memory of the host */
        r->broken |= status != DFX_OK && status != DFX_ERROR_MEMORY;
    }
    r->wrong |= r->broken || status == DFX_ERROR_DEVICE;
    return status;
}

/* Runs a case where the variant takes it. Only a failure to make it at all is an error, and an
 * interrupt. */
static dfx_status run_case(const struct test *test, struct row *r, const dfx_op *op,
                           const dfx__variant *variant, const dfx__case *c)
{
    dfx__trial t;
    dfx__difference d;
    dfx_status status = DFX_OK;
    DFX__TRY(dfx__trial_open(&t, test->device, r->row.dtype, op, c));
    t.s->forced = variant;
    if (t.s->status != DFX_OK || t.s->calls != 1)
        note_failure(r, t.s->status != DFX_OK ? t.s->message : "the case records no call");
    else if ((test->small && dfx__call_flops(t.s->call[0]) > SMALL_FLOPS) ||
             dfx__variant_choose(t.s->call[0]) != variant)
        r->row.skipped++;
    else {
        if (!test->small && !r->tried++)
            dfx__fault_try(test->device, &r->way);
        status = run(r, &t, &d);
        if (status == DFX_OK)
            note_result(r, c, &d);
        else if (status != DFX_ERROR_INTERRUPTED)
            note_failure(r, dfx_error());
        r->row.cases++;
    }
    dfx__trial_close(&t);
    return status == DFX_ERROR_INTERRUPTED ? status : DFX_OK;
}

/* Small cases alone can condemn a variant, not acquit it; an interrupt or a lack of memory leaves
 * it as it was. */
static void keep(const struct test *test, struct row *r, dfx_status status, const char *before)
{
    if (r->wrong)
        dfx__fault_keep(test->device, &r->way, r->message);
    else if (r->tried)
        dfx__fault_keep(test->device, &r->way, status != DFX_OK || r->row.failed ? before : NULL);
    r->row.kept = dfx__fault_find(test->device, &r->way) != NULL;
}

/* Some drivers answer nothing any more once a kernel went wrong. */
static dfx_status check_device(const struct row *r, dfx_device *d)
{
    dfx__buffer *b;
    char byte = 0;
    dfx_status status = dfx__buffer_new(&b, d, sizeof byte);
    if (status == DFX_OK) {
        status = d->class->write(b, 0, &byte, sizeof byte);
        if (status == DFX_OK)
            status = d->class->read(b, 0, &byte, sizeof byte);
        dfx__buffer_free(b);
    }
    if (status == DFX_OK)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_DEVICE,
                     "device %s does not answer any more after %s:%s in %s, which is not used from "
                     "now on; run dfx selftest again for the others",
                     d->info.id, r->way.op, r->way.variant, dfx_dtype_name(r->way.dtype));
}

static dfx_status run_row(struct test *test, const dfx_op *op, const dfx__variant *variant,
                          dfx_dtype dtype)
{
    struct row r = { .row = { .op = op->name, .variant = variant->name, .dtype = dtype },
                     .way = { op->name, variant->name, dtype } };
    r.row.tolerance = op->tolerance * 1e-6;
    r.row.worst_case = r.worst_case;
    r.row.message = r.message;
    if (dfx__fault_is_fatal(test->device, &r.way) != test->fatal)
        return DFX_OK;
    const char *known = dfx__fault_find(test->device, &r.way);
    char *before = known ? strdup(known) : NULL;
    dfx_status status = DFX_OK;
    if (test->fatal && test->spare)
        note_failure(&r, known);
    else
        for (const dfx__case *c = op->cases; c->in[0] && status == DFX_OK; c++)
            status = run_case(test, &r, op, variant, c);
    keep(test, &r, status, before);
    free(before);
    DFX__TRY(status);
    test->failed += r.row.failed;
    if (r.row.cases || r.row.failed)
        test->report(test->user, &r.row);
    return r.broken ? check_device(&r, test->device) : DFX_OK;
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

static dfx_status run_op(struct test *test, const dfx_op *op)
{
    static const dfx_dtype dtypes[] = { DFX_F32, DFX_F16, DFX_BF16 };
    for (const dfx__variant *v = variants(test->device, op); is_tested(test->device, op, v); v++)
        for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
            if (dfx__interrupted())
                return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
            DFX__TRY(run_row(test, op, v, dtypes[d]));
        }
    return DFX_OK;
}

dfx_status dfx_selftest(dfx_device *device, const char *op, int flags,
                        dfx_selftest_function *report, void *user, int *failed)
{
    struct test test = { .device = device,
                         .small = flags & DFX_SELFTEST_SMALL,
                         .spare = flags & DFX_SELFTEST_SPARE,
                         .report = report,
                         .user = user };
    int found = 0;
    dfx_status status = DFX_OK;
    for (test.fatal = 0; test.fatal < 2; test.fatal++)
        for (int i = 0; i < dfx__op_count && status == DFX_OK; i++)
            if (!op || strcmp(op, dfx__ops[i]->name) == 0) {
                found = 1;
                status = run_op(&test, dfx__ops[i]);
            }
    *failed = test.failed;
    DFX__TRY(status);
    return found ? DFX_OK : dfx__fail(DFX_ERROR_ARGUMENT, "there is no operator '%s'", op);
}
