/* embedding.c - rows of a table by their numbers; its kernel is cl/embedding.cl. */
#include "op/oplist.h"
#include "op/rows.h"

#include <string.h>

enum { IDS, TABLE };

dfx_value *dfx_embedding(dfx_value *ids, dfx_value *table)
{
    return dfx__record(&dfx__embedding, DFX__IN(ids, table), DFX__INTS(0), DFX__FLOATS(0));
}

static void infer(dfx_call *c)
{
    const dfx_spec *ids = &c->in[IDS]->spec, *table = &c->in[TABLE]->spec;
    char shape[2][DFX__SHAPE_TEXT];
    c->out->spec = *ids;
    if (ids->dtype != DFX_I32)
        dfx__call_fail(c, "ids are %s and must be i32", dfx_dtype_name(ids->dtype));
    else if (table->rank != 2 || ids->rank == DFX_MAX_RANK)
        dfx__call_fail(c, "no rows for ids %s of a table %s: [V, C] is needed",
                       dfx__shape_text(shape[0], ids->rank, ids->dim),
                       dfx__shape_text(shape[1], table->rank, table->dim));
    else if (dfx__need_float(c, TABLE)) {
        c->out->spec.dtype = table->dtype;
        c->out->spec.dim[c->out->spec.rank++] = table->dim[1];
    }
}

static void launch(const dfx_call *c, dfx__launches *l)
{
    const dfx_spec *table = &c->in[TABLE]->spec;
    dfx__rows_kernel(l, "embedding", "embedding", dfx__rows(&c->out->spec), 1, "");
    dfx__arg_int(l, table->dim[0]);
    dfx__arg_int(l, table->dim[1]);
    dfx__arg_in(l, IDS);
    dfx__arg_in(l, TABLE);
    dfx__arg_out(l);
}

static void run(const dfx_call *c, const dfx__host *h)
{
    const dfx_spec *table = &c->in[TABLE]->spec;
    size_t row = (size_t)table->dim[1] * dfx_dtype_size(table->dtype);
    const int32_t *id = h->in[IDS];
    int64_t rows = dfx__rows(&c->out->spec);
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        char *to = (char *)h->out + (size_t)r * row;
        if (id[r] >= 0 && id[r] < table->dim[0])
            memcpy(to, (const char *)h->in[TABLE] + (size_t)id[r] * row, row);
        else
            memset(to, 0, row);
    }
}

static const dfx__variant cpu = { "plain", NULL, DFX__PLAIN, NULL, NULL, run };
static const dfx__variant cl[] = { { "rows", NULL, DFX__PLAIN, NULL, launch, NULL }, { 0 } };

static const dfx__case cases[] = {
    { { "i1", "w3,1" }, { 0 }, { 0 } },
    { { "i2,17", "w31,77" }, { 0 }, { 0 } },
    { { "i2,77", "w500,64" }, { 0 }, { 0 } },
    { { NULL }, { 0 }, { 0 } },
};

const dfx_op dfx__embedding = { "embedding", infer, NULL, &cpu, cl, cases, 0 };
