/* fit.c - components made to fit into the device's memory, one way after the other. */
#include "pipeline/fit.h"

#include "sequence/fitting.h"

#include <stdlib.h>

/* ---- what others keep ---- */

/* Gives back what components keep for later; the UNet's where no run needs it just now. Whether
 * there was anything. */
static int make_room(dfx_pipeline *p)
{
    dfx__kept *all[] = { &p->vae_kept, &p->preview_kept, p->denoises ? NULL : &p->unet_kept };
    int any = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && all[i]->sequence) {
            dfx__forget(all[i]);
            any = 1;
        }
    return any;
}

/* ---- one way after the other ---- */

static dfx_status record(dfx_sequence **out, dfx_device *d, const dfx__job *job)
{
    DFX__TRY(dfx_sequence_new(out, d, job->dtype));
    job->record(job->user, *out);
    return DFX_OK;
}

/* Hands a sequence of a device over, or it goes. */
static dfx_status finish(dfx_sequence **out, dfx_pipeline *p, const dfx_device *d,
                         const dfx__job *job, dfx_status status)
{
    if (status == DFX_OK)
        status = dfx__plan_add(p, d, job, *out);
    if (status != DFX_OK) {
        dfx_sequence_free(*out);
        *out = NULL;
    }
    return status;
}

dfx_status dfx__fit_whole(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job)
{
    dfx_sequence *s; /* not *out yet: that may be one of those that make room */
    *out = NULL;
    DFX__TRY(record(&s, p->device, job));
    dfx_status status = dfx_sequence_prepare(s);
    if (status == DFX_ERROR_MEMORY && make_room(p))
        status = dfx_sequence_prepare(s);
    DFX__TRY(finish(&s, p, p->device, job, status));
    *out = s;
    return DFX_OK;
}

static dfx_status stream(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job)
{
    dfx_sequence_info info;
    DFX__TRY(record(out, p->device, job));
    dfx__sequence_may_stream(*out);
    dfx_status status = dfx_sequence_prepare(*out);
    DFX__TRY(finish(out, p, p->device, job, status));
    DFX__TRY(dfx_sequence_get_info(*out, &info));
    char some[DFX_BYTES_TEXT], all[DFX_BYTES_TEXT], moved[DFX_BYTES_TEXT];
    if (info.streamed_bytes && !p->device->rehearses)
        dfx__log("%s: %s of its %s of weights do not fit and move to device %s, %s in each run",
                 job->name, dfx_bytes_text(some, info.streamed_bytes),
                 dfx_bytes_text(all, info.weight_bytes), p->device->info.id,
                 dfx_bytes_text(moved, info.moved_bytes));
    return DFX_OK;
}

/* The host's memory has no limit but its own. */
static dfx_status open_spare(dfx_pipeline *p)
{
    if (!p->spare)
        DFX__TRY(dfx_device_open(&p->spare, "cpu"));
    dfx_device_set_memory_limit(p->spare, 0);
    p->spare->rehearses = p->device->rehearses;
    return DFX_OK;
}

static dfx_status move_to_cpu(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job)
{
    DFX__TRY(open_spare(p));
    DFX__TRY(record(out, p->spare, job));
    dfx_status status = dfx_sequence_prepare(*out);
    DFX__TRY(finish(out, p, p->spare, job, status));
    if (!p->device->rehearses)
        dfx__log("%s does not fit into device %s and runs on the CPU, which may take much longer",
                 job->name, p->device->info.id);
    return DFX_OK;
}

dfx_status dfx__fit_anyhow(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job)
{
    dfx_status status = stream(out, p, job);
    if (status == DFX_ERROR_MEMORY && !p->device->is_native)
        status = move_to_cpu(out, p, job);
    return status == DFX_OK ? DFX_OK : dfx__fail_in(status, "%s", job->name);
}

dfx_status dfx__fit(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job)
{
    dfx_status status = dfx__fit_whole(out, p, job);
    return status == DFX_ERROR_MEMORY ? dfx__fit_anyhow(out, p, job) : status;
}
