/* unet_forward.c - running a UNet2DConditionModel once on given tensors. */
#include "core/dtype.h"
#include "model/forward.h"
#include "model/unet.h"

static dfx_status read_added(dfx__unet_inputs *to, dfx__forward *f, const dfx__unet_facts *facts,
                             int64_t batch)
{
    DFX__TRY(dfx__given_numbers(&to->time_ids, f, "time_ids", 2, (int64_t[]){ batch, -1 }));
    int64_t ids = dfx_value_spec(to->time_ids)->dim[1];
    int64_t most = (facts->added_width - 1) / facts->size_width;
    if (ids > most)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "the input tensor time_ids has %lld entries for each sample; the UNet's "
                         "add_embedding takes %lld at most",
                         (long long)ids, (long long)most);
    int64_t pooled = facts->added_width - ids * facts->size_width;
    return dfx__given_floats(&to->text_embeds, f, "text_embeds", 2, (int64_t[]){ batch, pooled });
}

/* Ids [N], or numbers [N] or vectors [N, D]. */
static dfx_status read_class(dfx__unet_inputs *to, dfx__forward *f, const dfx__unet_facts *facts,
                             int64_t batch)
{
    static const char name[] = "class_labels";
    dfx_value **labels = &to->class_labels;
    switch (facts->class_labels) {
    case DFX__NO_CLASS:
        return DFX_OK;
    case DFX__CLASS_NUMBER:
        return dfx__given_numbers(labels, f, name, 1, &batch);
    case DFX__CLASS_VECTOR:
        return dfx__given_floats(labels, f, name, 2, (int64_t[]){ batch, facts->class_width });
    case DFX__CLASS_ID:
        break;
    }
    DFX__TRY(dfx__given_ids(labels, f, name, 1, facts->class_count));
    int64_t count = dfx_value_spec(*labels)->dim[0];
    if (count == batch)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT, "the input tensor %s has %lld ids and needs %lld", name,
                     (long long)count, (long long)batch);
}

dfx_status dfx__unet_forward(const dfx_model *model, dfx__forward *f)
{
    const dfx__unet *m = model->net;
    const dfx__unet_facts *facts = &m->facts;
    dfx__unet_inputs in = { .sample = NULL };
    DFX__TRY(dfx__given_image(&in.sample, f, "sample", facts->in_channels));
    int64_t n = dfx__given_batch(f);
    DFX__TRY(dfx__given_numbers(&in.timestep, f, "timestep", 1, &n));
    DFX__TRY(dfx__given_floats(&in.text, f, "encoder_hidden_states", 3,
                               (int64_t[]){ n, -1, facts->context }));
    if (facts->added_width)
        DFX__TRY(read_added(&in, f, facts, n));
    DFX__TRY(read_class(&in, f, facts, n));
    if (facts->cond_width && dfx_tensors_find(f->in, "timestep_cond"))
        DFX__TRY(dfx__given_floats(&in.timestep_cond, f, "timestep_cond", 2,
                                   (int64_t[]){ n, facts->cond_width }));
    dfx__forward_result(f, "sample", dfx__unet_record(m, &in));
    return dfx__forward_run(f);
}
