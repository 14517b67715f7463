/* profile.c - a prepared sequence's calls by operator and variant: how many, and their time. */
#include "sequence/sequence.h"

#include <stdio.h>
#include <stdlib.h>

/* Sums over the calls of one operator and variant. */
struct row {
    const dfx_op *op;
    const dfx__variant *variant;
    int calls;
    double seconds, flops, done; /* flops of a run of all, and of those that were */
};

static int slower_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : 0;
}

static int more_work_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return x->flops < y->flops ? 1 : x->flops > y->flops ? -1 : 0;
}

/* The rows of a sequence, to be freed; NULL: no memory. */
static struct row *make_rows(const dfx_sequence *s, int *rows)
{
    struct row *row = dfx__alloc((size_t)s->calls, sizeof *row);
    *rows = 0;
    for (int k = 0; row && k < s->calls; k++) {
        const dfx_call *c = s->call[k];
        int r = 0;
        while (r < *rows && (row[r].op != c->op || row[r].variant != c->variant))
            r++;
        if (r == *rows)
            row[(*rows)++] = (struct row){ c->op, c->variant, 0, 0, 0, 0 };
        row[r].calls++;
        row[r].seconds += c->seconds;
        row[r].flops += dfx__call_flops(c);
        row[r].done += dfx__call_flops(c) * c->runs;
    }
    return row;
}

void dfx__sequence_kernels(const dfx_sequence *s, char *text, size_t size)
{
    int rows;
    size_t n = 0;
    struct row *row = make_rows(s, &rows);
    *text = '\0';
    if (row)
        qsort(row, (size_t)rows, sizeof *row, more_work_first);
    for (int r = 0; row && r < rows; r++) {
        int more = snprintf(text + n, size - n, "%s%s:%s %d", n ? ", " : "", row[r].op->name,
                            row[r].variant->name, row[r].calls);
        if (more < 0 || (size_t)more >= size - n) {
            text[n] = '\0';
            break;
        }
        n += (size_t)more;
    }
    free(row);
}

void dfx__profile_print(const dfx_sequence *s)
{
    int rows;
    double total = 0;
    struct row *row = make_rows(s, &rows);
    for (int r = 0; row && r < rows; r++)
        total += row[r].seconds;
    if (row && total > 0) {
        qsort(row, (size_t)rows, sizeof *row, slower_first);
        dfx__log("%-20s %-8s %6s %9s %6s %8s", "operator", "variant", "calls", "seconds", "%",
                 "GFLOP/s");
        for (int r = 0; r < rows; r++)
            dfx__log("%-20s %-8s %6d %9.4f %5.1f%% %8.1f", row[r].op->name, row[r].variant->name,
                     row[r].calls, row[r].seconds, 100 * row[r].seconds / total,
                     row[r].done / row[r].seconds * 1e-9);
        dfx__log("%-20s %-8s %6d %9.4f", "all", "", s->calls, total);
    }
    free(row);
}
