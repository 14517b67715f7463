/* tune.c - a search from its beginning to the end of its time. */
#include "bench/tune.h"

#include "core/clock.h"

/* Of the time, for CLBlast's parameters; then come the ways of calls, which take what is left. */
static const double gemm_share = 0.6;

double dfx__tuner_spent(const dfx__tuner *t)
{
    return dfx__seconds() - t->began;
}

dfx_status dfx__tuner_report(const dfx__tuner *t, dfx_tune_row *row)
{
    row->spent = dfx__tuner_spent(t);
    row->budget = t->budget;
    if ((t->report && t->report(t->user, row) != 0) || dfx__interrupted())
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    return DFX_OK;
}

dfx_status dfx_tune(dfx_device *device, dfx_dtype dtype, double budget, dfx_tune_function *report,
                    void *user)
{
    dfx__tuner t = { device, report, user, dfx__seconds(), budget };
    dfx_status status = dfx__tune_gemm(&t, gemm_share * budget);
    if (status != DFX_OK && status != DFX_ERROR_UNSUPPORTED)
        return status;
    return dfx__tune_calls(&t, dtype, budget);
}
