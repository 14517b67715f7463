/* pipeline.c - opening a Diffusers folder by its model_index.json. */
#include "pipeline/pipeline.h"

#include "core/data.h"
#include "core/dtype.h"
#include "core/file.h"
#include "pipeline/fit.h"

#include <stdlib.h>
#include <string.h>

static const dfx__pipeline_class *const families[] = {
    &dfx__stable_diffusion_class,    &dfx__latent_consistency_class,
    &dfx__stable_diffusion_xl_class, &dfx__instruct_pix2pix_class,
    &dfx__instruct_pix2pix_xl_class, &dfx__depth2img_class,
    &dfx__unconditional_class,       &dfx__upscale_class,
    &dfx__latent_upscale_class,
};

/* The model of that name, else the user's, else the one that ships with the library; of the pool.
 */
static const char *model_path(dfx_pipeline *p, const char *model)
{
    const char *from_environment = getenv("DFX_MODEL");
    if (!model && from_environment && *from_environment)
        model = from_environment;
    if (model)
        return dfx__pool_copy(&p->pool, model);
    char *shipped = dfx__data_path("models/emoji");
    const char *path = shipped ? dfx__pool_copy(&p->pool, shipped) : NULL;
    free(shipped);
    return path;
}

const char *dfx__component_path(dfx_pipeline *p, const char *name)
{
    return dfx__pool_print(&p->pool, "%s/%s", p->path, name);
}

/* The folder of a component; models of 2022 have the one that has a file `config` beside
 * model_index.json. */
static const char *component_folder(dfx_pipeline *p, const char *name, const char *config)
{
    const char *path = dfx__component_path(p, name), *beside = dfx__component_path(p, config);
    if (!path || !beside)
        return NULL;
    return dfx__folder_exists(path) || !dfx__file_exists(beside) ? path : p->path;
}

const char *dfx__component_class(json_object *index, const char *name)
{
    json_object *pair = dfx__json_get(index, name, json_type_array);
    json_object *class = pair ? json_object_array_get_idx(pair, 1) : NULL;
    return json_object_is_type(class, json_type_string) ? json_object_get_string(class) : NULL;
}

dfx_model *dfx__component_given(const dfx_pipeline *p, const char *name)
{
    for (int i = 0; i < p->options->component_count; i++)
        if (strcmp(p->options->components[i].name, name) == 0)
            return p->options->components[i].model;
    return NULL;
}

static const dfx__model_class *find_class(const dfx__model_class *const *classes, const char *name)
{
    while (*classes && strcmp((*classes)->name, name) != 0)
        classes++;
    return *classes;
}

dfx_status dfx__open_component(dfx_pipeline *p, json_object *index, int slot, const char *name,
                               const dfx__model_class *const *classes)
{
    DFX__TRY(dfx__expect_component(p, index, slot, name, classes));
    return dfx__need_component(p, slot);
}

dfx_status dfx__expect_component(dfx_pipeline *p, json_object *index, int slot, const char *name,
                                 const dfx__model_class *const *classes)
{
    const char *has = dfx__component_class(index, name);
    dfx_model *model = dfx__component_given(p, name);
    if (model)
        has = model->class->name;
    const dfx__model_class *class = has ? find_class(classes, has) : NULL;
    if (!class)
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s/model_index.json: %s is %s and %s needs %s",
                         p->path, name, has ? has : "missing", p->class_name, classes[0]->name);
    p->model_name[slot] = name;
    p->model_classes[slot] = classes;
    p->expected[slot] = class;
    p->model[slot] = model ? dfx__model_share(model) : NULL;
    return DFX_OK;
}

dfx_status dfx__need_component(dfx_pipeline *p, int slot)
{
    if (p->model[slot])
        return DFX_OK;
    const char *path = component_folder(p, p->model_name[slot], "config.json");
    return path ? dfx__model_open(&p->model[slot], path, p->expected[slot], p->variant)
                : dfx__no_memory();
}

dfx_status dfx__open_tokenizer(dfx_pipeline *p, json_object *index, int tower, const char *name)
{
    const char *path = dfx__component_path(p, name), *has = dfx__component_class(index, name);
    if (!path)
        return dfx__no_memory();
    if (!has || strncmp(has, "CLIPTokenizer", 13) != 0)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s/model_index.json: %s is %s and %s needs CLIPTokenizer", p->path, name,
                         has ? has : "missing", p->class_name);
    return dfx_tokenizer_open(&p->tokenizer[tower], path);
}

void dfx__forget(dfx__kept *k)
{
    dfx_sequence_free(k->sequence);
    k->sequence = NULL;
}

void dfx__forget_all(dfx_pipeline *p)
{
    dfx__forget(&p->unet_kept);
    dfx__forget(&p->vae_kept);
    dfx__forget(&p->encoder_kept);
    dfx__forget(&p->preview_kept);
}

int dfx__needs_recording(dfx__kept *k, const dfx_model *model, const int64_t *shape, int count)
{
    size_t bytes = (size_t)count * sizeof *shape;
    if (k->sequence && k->model == model && memcmp(k->shape, shape, bytes) == 0)
        return 0;
    dfx__forget(k);
    k->model = model;
    memcpy(k->shape, shape, bytes);
    return 1;
}

/* dfx.json: what this model is best run with. */
static dfx_status read_recommended(dfx_pipeline *p)
{
    json_object *json, *v;
    char *path = dfx__path_join(p->path, "dfx.json");
    p->recommended = (dfx__recommended){ 0, -1 };
    if (!path)
        return dfx__no_memory();
    dfx_status status = dfx__file_exists(path) ? dfx__json_read(&json, path) : DFX_OK;
    if (status == DFX_OK && dfx__file_exists(path)) {
        if ((v = dfx__json_get(json, "num_inference_steps", json_type_int)))
            p->recommended.steps = json_object_get_int(v);
        if (json_object_object_get_ex(json, "guidance_scale", &v))
            p->recommended.guidance_scale = (float)json_object_get_double(v);
        json_object_put(json);
    }
    free(path);
    return status;
}

static dfx_status open_index(json_object **out, dfx_pipeline *p)
{
    char *path = dfx__path_join(p->path, "model_index.json");
    if (!path)
        return dfx__no_memory();
    dfx_status status = DFX_OK;
    if (dfx__file_exists(p->path) && !dfx__folder_exists(p->path))
        status = dfx__fail(
            DFX_ERROR_UNSUPPORTED,
            "%s: is no model: neither a Diffusers folder nor a file that holds a model", p->path);
    else if (!dfx__folder_exists(p->path))
        status = dfx__fail(DFX_ERROR_FILE, "%s: there is no such model folder", p->path);
    else if (!dfx__file_exists(path))
        status = dfx__fail(DFX_ERROR_FILE,
                           "%s: it is no Diffusers folder: model_index.json is missing", p->path);
    else
        status = dfx__json_read(out, path);
    free(path);
    return status;
}

/* A class of the folder's own code stands as [file, class], and is not supported. */
static const char *index_class(json_object *index)
{
    json_object *pair = dfx__json_get(index, "_class_name", json_type_array);
    json_object *name = pair ? json_object_array_get_idx(pair, 1) : NULL;
    if (json_object_is_type(name, json_type_string))
        return json_object_get_string(name);
    return dfx__json_string(index, "_class_name");
}

static dfx_status choose_class(dfx_pipeline *p, json_object *index)
{
    const char *name = index_class(index);
    for (size_t i = 0; name && i < sizeof families / sizeof *families; i++)
        for (const char *const *has = families[i]->names; *has; has++)
            if (strcmp(*has, name) == 0) {
                p->class = families[i];
                p->class_name = *has;
                return DFX_OK;
            }
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s/model_index.json: the pipeline class %s is not supported", p->path,
                     name ? name : "(none)");
}

/* auto: f16 where a GPU halves its memory and traffic by it, f32 on CPUs. */
static dfx_status choose_dtype(dfx_pipeline *p, const char *name)
{
    if (!name)
        name = getenv("DFX_DTYPE");
    if (name && *name && strcmp(name, "auto") != 0)
        return dfx_dtype_parse(&p->dtype, name);
    p->dtype_is_auto = 1;
    p->dtype = dfx_device_get_info(p->device)->is_gpu ? DFX_F16 : DFX_F32;
    return DFX_OK;
}

static dfx_status choose_device(dfx_pipeline *p, const dfx_pipeline_options *o)
{
    const char *name = o->device, *from_environment = getenv("DFX_DEVICE");
    if (o->on) {
        p->device = o->on->device;
        p->borrows_device = 1;
        return DFX_OK;
    }
    if (!name && from_environment && *from_environment)
        name = from_environment;
    DFX__TRY(dfx_device_open(&p->device, name));
    if (o->memory_limit)
        dfx_device_set_memory_limit(p->device, o->memory_limit);
    return DFX_OK;
}

/* A component without files of the variant takes plain ones, but not all of them may. */
static dfx_status check_variant(const dfx_pipeline *p)
{
    if (!p->variant)
        return DFX_OK;
    for (int i = 0; i < DFX__COMPONENTS; i++) {
        const char *variant = p->model[i] ? dfx__weights_variant(p->model[i]->weights) : NULL;
        if (variant && strcmp(variant, p->variant) == 0)
            return DFX_OK;
    }
    return dfx__fail(DFX_ERROR_FILE, "%s: no component has weights of variant %s", p->path,
                     p->variant);
}

static dfx_status open_pipeline(dfx_pipeline *p, const char *model,
                                const dfx_pipeline_options *options)
{
    json_object *index;
    p->opened_by = model_path(p, model);
    if (!p->opened_by)
        return dfx__no_memory();
    DFX__TRY(dfx_checkpoint_open(&p->checkpoint, p->opened_by));
    p->path = dfx_checkpoint_path(p->checkpoint);
    p->variant = options->variant ? dfx__pool_copy(&p->pool, options->variant) : NULL;
    if (options->variant && !p->variant)
        return dfx__no_memory();
    p->options = options;
    p->tile = options->tile;
    DFX__TRY(choose_device(p, options));
    DFX__TRY(choose_dtype(p, options->dtype));
    DFX__TRY(open_index(&index, p));
    dfx_status status = choose_class(p, index);
    if (status == DFX_OK)
        status = read_recommended(p);
    if (status == DFX_OK)
        status = p->class->open(p, index);
    if (status == DFX_OK)
        status = check_variant(p);
    if (status == DFX_OK)
        status = p->class->check(p);
    json_object_put(index);
    p->options = NULL;
    return status;
}

dfx_status dfx_pipeline_open(dfx_pipeline **out, const char *model,
                             const dfx_pipeline_options *options)
{
    static const dfx_pipeline_options defaults;
    *out = NULL;
    dfx_pipeline *p = calloc(1, sizeof *p);
    if (!p)
        return dfx__no_memory();
    dfx_status status = open_pipeline(p, model, options ? options : &defaults);
    if (status != DFX_OK) {
        dfx_pipeline_free(p);
        return status;
    }
    *out = p;
    return DFX_OK;
}

void dfx_pipeline_free(dfx_pipeline *p)
{
    if (!p)
        return;
    dfx__forget_all(p);
    dfx_model_free(p->preview);
    dfx_scheduler_free(p->low_res_scheduler);
    for (int i = 0; i < DFX__TOWERS; i++)
        dfx_tokenizer_free(p->tokenizer[i]);
    for (int i = 0; i < DFX__COMPONENTS; i++)
        dfx_model_free(p->model[i]);
    if (!p->borrows_device)
        dfx_device_free(p->device);
    dfx_device_free(p->spare);
    dfx_checkpoint_free(p->checkpoint);
    dfx__pool_free(&p->pool);
    free(p);
}

/* The slot of a component's name; -1: there is none. */
static int find_slot(const dfx_pipeline *p, const char *name)
{
    for (int i = 0; i < DFX__COMPONENTS; i++)
        if (p->model_name[i] && strcmp(p->model_name[i], name) == 0)
            return i;
    return -1;
}

dfx_model *dfx_pipeline_component(const dfx_pipeline *p, const char *name)
{
    int slot = find_slot(p, name);
    return slot < 0 ? NULL : p->model[slot];
}

dfx_status dfx_pipeline_set_component(dfx_pipeline *p, const char *name, dfx_model *model)
{
    int slot = find_slot(p, name);
    if (slot < 0)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%s has no component %s", p->class_name, name);
    if (!find_class(p->model_classes[slot], model->class->name))
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "%s: %s is no %s of %s", model->folder,
                         model->class->name, name, p->class_name);
    dfx_model *before = p->model[slot];
    p->model[slot] = model;
    dfx_status status = p->class->check(p);
    if (status != DFX_OK) {
        p->model[slot] = before;
        return status;
    }
    dfx__forget(&p->unet_kept); /* they may use the one before */
    dfx__forget(&p->vae_kept);
    p->in_f32 &= ~(1u << slot);
    dfx__model_share(model);
    dfx_model_free(before);
    p->hash[0] = '\0';
    return DFX_OK;
}

const char *dfx_pipeline_class(const dfx_pipeline *p)
{
    return p->class_name;
}

const char *dfx_pipeline_path(const dfx_pipeline *p)
{
    return p->opened_by;
}

const dfx_device *dfx_pipeline_device(const dfx_pipeline *p)
{
    return p->device;
}

dfx_dtype dfx_pipeline_dtype(const dfx_pipeline *p)
{
    return p->dtype;
}

const char *dfx_pipeline_hash(dfx_pipeline *p)
{
    return p->hash[0] || dfx__pipeline_hash(p) == DFX_OK ? p->hash : NULL;
}

void dfx_pipeline_set_scheduler(dfx_pipeline *p, dfx_scheduler *s)
{
    p->scheduler = s;
}

/* A variance behind the model's mean is there where the scheduler takes one, and only there. */
static dfx_status check_output(const dfx_pipeline *p, const dfx_scheduler *s)
{
    if (dfx_scheduler_output_parts(s) == dfx__output_parts(p))
        return DFX_OK;
    if (dfx__output_parts(p) == 2)
        return dfx__fail(DFX_ERROR_ARGUMENT,
                         "scheduler %s: it does not take the variance that the pipeline's model "
                         "learned: choose ddpm,variance_type=learned_range",
                         dfx_scheduler_class(s));
    return dfx__fail(DFX_ERROR_ARGUMENT,
                     "scheduler %s: the pipeline's model learned no variance: choose "
                     "variance_type=fixed_small",
                     dfx_scheduler_class(s));
}

dfx_status dfx__take_scheduler(dfx_scheduler **out, dfx_pipeline *p, const char *choice)
{
    if (p->scheduler && (!choice || strcmp(choice, dfx_scheduler_class(p->scheduler)) == 0)) {
        *out = p->scheduler;
        return check_output(p, *out);
    }
    const char *config = component_folder(p, "scheduler", "scheduler_config.json");
    DFX__TRY(config ? dfx__scheduler_open(out, config, choice, p->repairs) : dfx__no_memory());
    dfx_status status = check_output(p, *out);
    if (status != DFX_OK) {
        dfx_scheduler_free(*out);
        *out = NULL;
    }
    return status;
}

void dfx__release_scheduler(dfx_pipeline *p, dfx_scheduler *s)
{
    if (s != p->scheduler)
        dfx_scheduler_free(s);
    else if (s)
        dfx_scheduler_set_generator(s, NULL); /* which was the run's */
}

dfx_status dfx_pipeline_settings(dfx_pipeline *p, dfx_generate_options *options)
{
    return p->class->settings(p, options);
}

dfx_status dfx_pipeline_generate(dfx_result **out, dfx_pipeline *p,
                                 const dfx_generate_options *options)
{
    dfx_generate_options all = *options;
    *out = NULL;
    DFX__TRY(p->class->settings(p, &all));
    dfx_result *r = calloc(1, sizeof *r);
    if (!r)
        return dfx__no_memory();
    p->running++;
    dfx_status status = dfx__keeps_any(p) ? DFX_OK : dfx__rehearse_run(NULL, p, &all);
    if (status == DFX_OK)
        status = p->class->generate(r, p, &all);
    p->running--;
    if (status != DFX_OK) {
        dfx_result_free(r);
        return status;
    }
    *out = r;
    return DFX_OK;
}
