/* depth_estimator.c - the depth of a run's picture, by a model that is there while it is needed. */
#include "core/dtype.h"
#include "pipeline/dpt_processor.h"
#include "pipeline/run.h"

#include <stdlib.h>
#include <string.h>

dfx_status dfx__expect_depth_estimator(dfx_pipeline *p, json_object *index)
{
    static const dfx__model_class *const classes[] = { &dfx__dpt_class, NULL };
    const char *class = dfx__component_class(index, "depth_estimator");
    int supported = class && strcmp(class, dfx__dpt_class.name) == 0;
    if (!supported && !dfx__component_given(p, "depth_estimator"))
        return DFX_OK; /* runs with a depth map can do without */
    return dfx__expect_component(p, index, DFX__DEPTH_ESTIMATOR, "depth_estimator", classes);
}

static dfx_status run_prepared(dfx_sequence *s, const dfx_value *y, const float *pixels,
                               size_t bytes, float **out, dfx_spec *spec)
{
    DFX__TRY(dfx_sequence_prepare(s));
    DFX__TRY(dfx_sequence_write(s, "image", pixels, bytes));
    DFX__TRY(dfx_sequence_run(s));
    *spec = *dfx_value_spec(y);
    *out = dfx__alloc(dfx__elements(spec), sizeof **out);
    return *out ? dfx_sequence_read(s, "depth", *out, dfx__spec_bytes(spec)) : dfx__no_memory();
}

/* The map of pixels [*height, *width, 3], of *height x *width on return; to be freed. */
static dfx_status run(dfx_pipeline *p, const float *pixels, float **out, int *height, int *width)
{
    const dfx_model *m = p->model[DFX__DEPTH_ESTIMATOR];
    dfx_spec spec, rgb = { DFX_F32, 4, { 1, *height, *width, 3 } };
    dfx_sequence *s;
    dfx_status status = dfx__dpt_check_size(m->net, *height, *width);
    if (status != DFX_OK)
        return dfx__fail_in(status, "feature_extractor");
    DFX__TRY(dfx_sequence_new(&s, p->device, p->dtype));
    dfx_value *x = dfx_cast(dfx_input(s, "image", DFX_F32, 4, rgb.dim), p->dtype);
    x = dfx_cast(dfx__dpt_record(m->net, x), DFX_F32);
    dfx_output(x, "depth");
    status = run_prepared(s, x, pixels, dfx__spec_bytes(&rgb), out, &spec);
    dfx_sequence_free(s);
    DFX__TRY(status);
    *height = (int)spec.dim[1];
    *width = (int)spec.dim[2];
    return DFX_OK;
}

dfx_status dfx__estimate_depth(dfx__run *r, float **out, int *height, int *width)
{
    dfx_model **slot = &r->p->model[DFX__DEPTH_ESTIMATOR];
    int stays = *slot != NULL; /* the caller's */
    const char *folder = dfx__component_path(r->p, "feature_extractor");
    dfx__dpt_processor processor;
    float *pixels;
    DFX__TRY(folder ? dfx__dpt_processor_open(&processor, folder) : dfx__no_memory());
    DFX__TRY(dfx__dpt_process(&pixels, width, height, &processor, r->o->image));
    dfx_status status = dfx__need_component(r->p, DFX__DEPTH_ESTIMATOR);
    if (status == DFX_OK)
        status = run(r->p, pixels, out, height, width);
    if (!stays) {
        dfx_model_free(*slot);
        *slot = NULL;
    }
    free(pixels);
    return status;
}
