/* config_keys.c - what is done with each key of a model's folder, or of one of its components. */
#include "core/config_keys.h"

#include "core/file.h"
#include "core/status.h"
#include "dfxcl/checkpoint.h"
#include "model/model.h"
#include "pipeline/dpt_processor.h"
#include "scheduler/scheduler.h"
#include "tokenizer/clip_files.h"

#include <stdlib.h>
#include <string.h>

/* ---- model_index.json ---- */

static const dfx__config_rule components[] = {
    { "bert", NULL, "a component" },
    { "depth_estimator", NULL, "a component" },
    { "feature_extractor", "*", "pictures are not checked" },
    { "image_encoder", "[null,null]", "only null: the image encoder of IP-Adapters" },
    { "low_res_scheduler", NULL, "a component" },
    { "safety_checker", "*", "pictures are not checked" },
    { "scheduler", NULL, "a component" },
    { "text_encoder", NULL, "a component" },
    { "text_encoder_2", NULL, "a component" },
    { "tokenizer", NULL, "a component" },
    { "tokenizer_2", NULL, "a component" },
    { "unet", NULL, "a component" },
    { "vae", NULL, "a component" },
    { "vqvae", NULL, "a component" },
    { "watermarker", "*", "pictures get no watermark" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule checker_rules[] = {
    { "requires_safety_checker", "*", "pictures are not checked" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule depth_rules[] = {
    { "feature_extractor", NULL, "a component, of the depth estimator" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule xl_rules[] = {
    { "force_zeros_for_empty_prompt", NULL, "without a negative prompt its embeddings are zeros" },
    { "requires_aesthetics_score", NULL, "the UNet is told a score instead of the target size" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule pix2pix_xl_rules[] = {
    { "force_zeros_for_empty_prompt", NULL, "without a negative prompt its embeddings are zeros" },
    { "is_cosxl_edit", NULL, "latents of the picture are scaled" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule upscale_rules[] = {
    { "max_noise_level", NULL, "the most that noise_level may be" },
    { NULL, NULL, NULL },
};

/* The keys of classes whose name begins so; the first that fits counts. */
static const struct {
    const char *class;
    const dfx__config_rule *rules;
    const char *defaults; /* JSON */
} families[] = {
    { "StableDiffusionXLInstructPix2Pix", pix2pix_xl_rules,
      "{\"force_zeros_for_empty_prompt\":true,\"is_cosxl_edit\":false}" },
    { "StableDiffusionUpscale", upscale_rules, "{\"max_noise_level\":350}" },
    { "StableDiffusionXL", xl_rules,
      "{\"force_zeros_for_empty_prompt\":true,\"requires_aesthetics_score\":false}" },
    { "StableDiffusionDepth2Img", depth_rules, "{}" },
    { "", checker_rules, "{}" },
};

static dfx_status list_index(dfx_config_keys *keys, json_object *index)
{
    const char *class = dfx__json_string(index, "_class_name");
    size_t i = 0;
    if (!class)
        class = "";
    while (strncmp(class, families[i].class, strlen(families[i].class)) != 0)
        i++;
    const dfx__config_rule *lists[] = { dfx__common_rules, families[i].rules, components };
    json_object *read = json_tokener_parse(families[i].defaults);
    int whole = read != NULL;
    json_object_object_foreach (index, name, value) {
        (void)value;
        if (whole && !json_object_object_get_ex(read, name, NULL))
            whole = dfx__json_put(read, name, NULL);
    }
    dfx_status status =
        whole ? dfx__config_keys_add_file(keys, index, read, lists, 3) : dfx__no_memory();
    json_object_put(read);
    return status;
}

/* ---- preprocessor_config.json ---- */

/* Of the class that pipelines use, and of others. */
static const dfx__config_rule processor_rules[] = {
    { "*", "*", "pictures are not checked" },
    { NULL, NULL, NULL },
};

static dfx_status list_processor(dfx_config_keys *keys, json_object *file)
{
    const char *class = dfx__json_string(file, "image_processor_type");
    if (!class)
        class = dfx__json_string(file, "feature_extractor_type");
    int of_depth = class && strncmp(class, "DPT", 3) == 0;
    const dfx__config_rule *list = of_depth ? dfx__dpt_processor_rules : processor_rules;
    return dfx__config_keys_add_file(keys, file, NULL, &list, 1);
}

/* ---- any ---- */

typedef dfx_status list_function(dfx_config_keys *keys, json_object *file);

static dfx_status list_file(dfx_config_keys *keys, const char *path, list_function *list)
{
    json_object *file = NULL;
    DFX__TRY(dfx__json_read(&file, path));
    dfx_status status = json_object_is_type(file, json_type_object)
                            ? list(keys, file)
                            : dfx__fail(DFX_ERROR_FORMAT, "%s: it is not a JSON object", path);
    json_object_put(file);
    return status;
}

static dfx_status list_model(dfx_config_keys *keys, const char *folder)
{
    dfx_model *m;
    DFX__TRY(dfx_model_open(&m, folder));
    dfx_status status = dfx__config_list(&m->config, keys);
    dfx_model_free(m);
    return status;
}

/* The path of a file in the folder, of the pool; NULL where it is not there. */
static const char *find(dfx__pool *pool, const char *folder, const char *name)
{
    const char *path = dfx__pool_print(pool, "%s/%s", folder, name);
    return path && dfx__file_exists(path) ? path : NULL;
}

static dfx_status list_path(dfx_config_keys *k, const char *path)
{
    const char *file;
    if (dfx__file_exists(path) && !dfx__folder_exists(path))
        return dfx__scheduler_keys(k, path);
    if ((file = find(&k->pool, path, "model_index.json")))
        return list_file(k, file, list_index);
    if (find(&k->pool, path, "scheduler_config.json"))
        return dfx__scheduler_keys(k, path);
    if (find(&k->pool, path, "config.json"))
        return list_model(k, path);
    if ((file = find(&k->pool, path, "preprocessor_config.json")))
        return list_file(k, file, list_processor);
    if (find(&k->pool, path, "tokenizer.json") || find(&k->pool, path, "vocab.json"))
        return dfx__clip_keys(k, path);
    return dfx__fail(DFX_ERROR_FILE, "%s: there is no config in it", path);
}

dfx_status dfx_config_keys_open(dfx_config_keys **out, const char *path)
{
    dfx_checkpoint *c;
    *out = NULL;
    DFX__TRY(dfx_checkpoint_open(&c, path));
    dfx_config_keys *keys = calloc(1, sizeof *keys);
    dfx_status status = keys ? list_path(keys, dfx_checkpoint_path(c)) : dfx__no_memory();
    dfx_checkpoint_free(c);
    if (status != DFX_OK) {
        dfx_config_keys_free(keys);
        return status;
    }
    *out = keys;
    return DFX_OK;
}
