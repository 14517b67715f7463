/* moments.c - group norms whose moments the caller gives: those of a whole image, of which a
 * sequence sees a part. */
#include "sequence/fitting.h"
#include "sequence/sequence.h"

#include <stdio.h>

void dfx__sequence_give_moments(dfx_sequence *s, int count)
{
    s->gives_moments = 1;
    s->moments_given = count;
}

void dfx__moments_next(dfx_value **moments, dfx_value *x, int groups)
{
    char name[DFX__MOMENTS_NAME];
    *moments = NULL;
    if (!x || x->bad || !x->sequence->gives_moments)
        return;
    dfx_sequence *s = x->sequence;
    if (s->norms == s->moments_given) {
        s->norm_without = (dfx__norm_without){ x, groups };
        s->norms++;
        *moments = dfx__value_bad(s);
        return;
    }
    snprintf(name, sizeof name, DFX__MOMENTS, s->norms++);
    *moments = dfx_input(s, name, DFX_F32, 3, (int64_t[]){ x->spec.dim[0], groups, 2 });
}

dfx__norm_without dfx__sequence_norm_without(const dfx_sequence *s)
{
    return s->norm_without;
}
