/* preview.c - a picture of a run between its steps. */
#include "preview.h"

#include "cmd.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>

int preview_open(struct preview *v, const char *model)
{
    dfx_status status = model ? dfx_model_open(&v->vae, model) : DFX_OK;
    return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
}

void preview_close(struct preview *v)
{
    dfx_model_free(v->vae);
}

static dfx_status write_pictures(const struct preview *v, const dfx_result *r)
{
    dfx_status status = DFX_OK;
    for (int i = 0; i < dfx_result_count(r) && status == DFX_OK; i++) {
        char *name = output_name(v->path, "", 0, i, dfx_result_count(r));
        status = name ? dfx_image_write(dfx_result_image(r, i), name, NULL, 0) : DFX_ERROR_MEMORY;
        free(name);
    }
    return status;
}

static dfx_status show(struct preview *v, dfx_pipeline *p, const float *latents,
                       const dfx_spec *spec)
{
    size_t bytes = sizeof *latents;
    dfx_result *r;
    for (int i = 0; i < spec->rank; i++)
        bytes *= (size_t)spec->dim[i];
    const dfx_tensor t = { "latents", *spec, latents, bytes };
    dfx_status status = dfx_pipeline_decode(&r, p, &t, v->vae);
    if (status == DFX_OK)
        status = write_pictures(v, r);
    dfx_result_free(r);
    return status;
}

int preview_step(struct preview *v, dfx_pipeline *p, struct progress *progress, int step, int steps,
                 const float *latents, const dfx_spec *spec)
{
    int every = v->every ? v->every : 1;
    if (!v->path || step == 0 || (step % every != 0 && step != steps))
        return 0;
    dfx_status status = show(v, p, latents, spec);
    if (status == DFX_OK)
        v->made++;
    if (status == DFX_OK || status == DFX_ERROR_INTERRUPTED)
        return status != DFX_OK;
    char *line = v->failure;
    snprintf(line, sizeof v->failure, "--preview: %s", dfx_error());
    if (v->made == 0)
        return 1;
    progress_say(progress, line);
    v->path = NULL;
    *line = '\0';
    return 0;
}
