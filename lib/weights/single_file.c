/* single_file.c - shows a checkpoint in the original layout as a Diffusers folder. */
#include "weights/single_file.h"

#include "core/data.h"
#include "core/status.h"
#include "weights/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a mount owns. */
struct single {
    dfx__pool pool; /* names, and texts of configs */
    const char *path;
    dfx_tensors *file;
    dfx__single_file facts;
    dfx__key_map *keys[DFX__SINGLE_PARTS];
    dfx_tensors *view[DFX__SINGLE_PARTS];
    json_object *configs;      /* objects, and texts of the metadata */
    dfx__mapped vocab, merges; /* of the tokenizer that comes with the library */
    dfx__mount_entry *entry;
    int entries, room;
};

static void free_single(void *owner)
{
    struct single *s = owner;
    for (int i = 0; i < DFX__SINGLE_PARTS; i++) {
        dfx_tensors_free(s->view[i]);
        dfx__key_map_free(s->keys[i]);
    }
    dfx_tensors_free(s->file);
    json_object_put(s->configs);
    if (s->vocab.data)
        dfx__unmap_file(&s->vocab);
    if (s->merges.data)
        dfx__unmap_file(&s->merges);
    free(s->entry);
    dfx__pool_free(&s->pool);
    free(s);
}

static dfx_status add_entry(struct single *s, dfx__mount_entry entry)
{
    if (s->entries == s->room) {
        int room = s->room ? 2 * s->room : 32;
        dfx__mount_entry *list = realloc(s->entry, (size_t)room * sizeof *list);
        if (!list)
            return dfx__no_memory();
        s->entry = list;
        s->room = room;
    }
    if (!entry.name)
        return dfx__no_memory();
    s->entry[s->entries++] = entry;
    return DFX_OK;
}

int dfx__single_is_config(const char *name)
{
    size_t n = strlen(name);
    const char *slash = strchr(name, '/');
    return n > 4 && n < 200 && name[0] != '/' && name[0] != '.' && !strstr(name, "..") &&
           !strchr(name, '\\') && (!slash || !strchr(slash + 1, '/')) &&
           (dfx__ends_with(name, ".txt") || dfx__ends_with(name, ".json"));
}

/* The configs in the metadata; none is made where there is none. */
static dfx_status stored_configs(json_object **configs, const dfx_tensors *file)
{
    static const char prefix[] = DFX__SINGLE_METADATA;
    if (!file->metadata)
        return DFX_OK;
    json_object_object_foreach (file->metadata, key, value) {
        if (strncmp(key, prefix, strlen(prefix)) == 0 &&
            dfx__single_is_config(key + strlen(prefix)) &&
            json_object_is_type(value, json_type_string)) {
            if (!*configs)
                *configs = json_object_new_object();
            if (!dfx__json_put(*configs, key + strlen(prefix), json_object_get(value)))
                return dfx__no_memory();
        }
    }
    return DFX_OK;
}

/* Whether a part was converted from a folder in the other spelling. */
static int has_other_names(const dfx_tensors *file, const char *part)
{
    char key[64];
    snprintf(key, sizeof key, DFX__SINGLE_OTHER_NAMES "%s", part);
    return dfx__json_string(file->metadata, key) != NULL;
}

static int has_part(const struct single *s, const char *name)
{
    for (int i = 0; i < s->facts.parts; i++)
        if (strcmp(s->facts.part[i].name, name) == 0)
            return 1;
    return 0;
}

/* Whether a file of the published model belongs to one of the parts of this one. */
static int is_wanted(const struct single *s, const char *name)
{
    static const char *const part_of[][2] = { { "tokenizer/", "text_encoder" },
                                              { "tokenizer_2/", "text_encoder_2" },
                                              { "text_encoder/", "text_encoder" },
                                              { "text_encoder_2/", "text_encoder_2" },
                                              { "unet/", "unet" },
                                              { "vae/", "vae" } };
    for (size_t i = 0; i < sizeof part_of / sizeof *part_of; i++)
        if (strncmp(name, part_of[i][0], strlen(part_of[i][0])) == 0)
            return has_part(s, part_of[i][1]);
    return 1;
}

int dfx__single_leave_out(json_object *index, const char *component)
{
    json_object *none = json_object_new_array();
    int whole =
        none && json_object_array_add(none, NULL) == 0 && json_object_array_add(none, NULL) == 0;
    if (whole)
        return dfx__json_put(index, component, none);
    json_object_put(none);
    return 0;
}

/* The index names no components that are not in the file. */
static dfx_status fit_index(const struct single *s, json_object *index)
{
    static const char *const names[] = { "unet", "vae", "text_encoder", "text_encoder_2" };
    static const char *const tokenizers[] = { NULL, NULL, "tokenizer", "tokenizer_2" };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2 && !has_part(s, names[i]); k++) {
            const char *name = k ? tokenizers[i] : names[i];
            if (name && json_object_object_get_ex(index, name, NULL) &&
                !dfx__single_leave_out(index, name))
                return dfx__no_memory();
        }
    return DFX_OK;
}

static dfx_status fit_part(struct single *s, int i, const dfx__key_shape *shape)
{
    char name[64];
    json_object *config;
    const dfx__single_part *part = &s->facts.part[i];
    snprintf(name, sizeof name, "%s/config.json", part->name);
    if (!json_object_object_get_ex(s->configs, name, &config))
        return dfx__fail(DFX_ERROR_FORMAT, "%s is not known", name);
    return dfx__fit_config(config, shape, s->file, part->prefix, &s->facts.rules);
}

/* A number of the file's own in the scheduler's config. */
static dfx_status take_sigma(struct single *s, const char *tensor, const char *key)
{
    const dfx_tensor *t = dfx_tensors_find(s->file, tensor);
    json_object *config = json_object_object_get(s->configs, "scheduler/scheduler_config.json");
    float value;
    if (!t || t->spec.dtype != DFX_F32 || t->bytes != sizeof value)
        return DFX_OK;
    memcpy(&value, t->data, sizeof value);
    int whole = !(value > 0) || !isfinite(value) ||
                dfx__json_put_new(config, key, json_object_new_double((double)value));
    return whole ? DFX_OK : dfx__no_memory();
}

/* The parts' tensors, and their configs where the file has none. */
static dfx_status read_parts(struct single *s)
{
    int stored = 1;
    DFX__TRY(stored_configs(&s->configs, s->file));
    if (!s->configs) {
        stored = 0;
        DFX__TRY(dfx__published_configs(&s->configs, s->facts.configs));
        DFX__TRY(take_sigma(s, "edm_vpred.sigma_min", "sigma_min"));
        DFX__TRY(take_sigma(s, "edm_vpred.sigma_max", "sigma_max"));
        DFX__TRY(fit_index(s, json_object_object_get(s->configs, "model_index.json")));
    }
    for (int i = 0; i < s->facts.parts; i++) {
        const dfx__single_part *part = &s->facts.part[i];
        dfx__key_shape shape;
        DFX__TRY(dfx__find_blocks(&shape, part->layout, s->file, part->prefix));
        shape.other = stored && has_other_names(s->file, part->name);
        DFX__TRY(dfx__key_map_new(&s->keys[i], &shape));
        DFX__TRY(dfx__single_view(&s->view[i], s->file, s->path, part, s->keys[i]));
        if (!stored)
            DFX__TRY(fit_part(s, i, &shape));
    }
    return DFX_OK;
}

static dfx_status map_data(dfx__mapped *out, const char *name)
{
    char *path = dfx__data_path(name);
    if (!path)
        return dfx__no_memory();
    dfx_status status = DFX_OK;
    if (!out->data && !dfx__file_exists(path))
        status =
            dfx__fail(DFX_ERROR_FILE,
                      "%s: is missing, the vocabulary that checkpoints do without; DFX_DATADIR "
                      "names the folder of what the library comes with",
                      path);
    else if (!out->data)
        status = dfx__map_file(out, path);
    free(path);
    return status;
}

/* CLIP's vocabulary for a tokenizer whose own is not in the file. */
static dfx_status add_tokenizer(struct single *s, const char *folder)
{
    const char *name = dfx__pool_print(&s->pool, "%s/vocab.json", folder);
    const char *merges = dfx__pool_print(&s->pool, "%s/merges.txt", folder);
    const char *whole = dfx__pool_print(&s->pool, "%s/tokenizer.json", folder);
    const char *config = dfx__pool_print(&s->pool, "%s/tokenizer_config.json", folder);
    if (!name || !merges || !whole || !config)
        return dfx__no_memory();
    if (!json_object_object_get_ex(s->configs, config, NULL) ||
        json_object_object_get_ex(s->configs, name, NULL) ||
        json_object_object_get_ex(s->configs, whole, NULL))
        return DFX_OK;
    DFX__TRY(map_data(&s->vocab, "tokenizers/clip/vocab.json"));
    DFX__TRY(map_data(&s->merges, "tokenizers/clip/merges.txt"));
    DFX__TRY(add_entry(s, (dfx__mount_entry){ name, s->vocab.data, s->vocab.bytes, 1, NULL }));
    return add_entry(s, (dfx__mount_entry){ merges, s->merges.data, s->merges.bytes, 1, NULL });
}

/* A file's name in the mount: alone, a component's files stand at the top. */
static const char *entry_name(struct single *s, const char *name)
{
    const char *slash = strchr(name, '/');
    return dfx__pool_copy(&s->pool, s->facts.parts == 1 && slash ? slash + 1 : name);
}

static dfx_status add_config(struct single *s, const char *name, json_object *config)
{
    if (!is_wanted(s, name) ||
        (s->facts.parts == 1 && strncmp(name, s->facts.part[0].name, strcspn(name, "/")) != 0))
        return DFX_OK;
    const char *text = json_object_is_type(config, json_type_string)
                           ? json_object_get_string(config)
                           : dfx__json_text(config);
    size_t bytes = strlen(text);
    unsigned char *copy = dfx__pool_alloc(&s->pool, bytes + 1);
    if (!copy)
        return dfx__no_memory();
    memcpy(copy, text, bytes);
    return add_entry(s, (dfx__mount_entry){ entry_name(s, name), copy, bytes, 0, NULL });
}

static dfx_status add_weights(struct single *s, int i)
{
    const dfx__single_part *part = &s->facts.part[i];
    int text = part->layout == DFX__LAYOUT_CLIP || part->layout == DFX__LAYOUT_OPEN_CLIP;
    const char *name = dfx__pool_print(&s->pool, "%s/%s.safetensors", part->name,
                                       text ? "model" : "diffusion_pytorch_model");
    if (!name)
        return dfx__no_memory();
    return add_entry(s, (dfx__mount_entry){ entry_name(s, name), s->file->file.data,
                                            s->file->file.bytes, 1, s->view[i] });
}

static dfx_status read_single(struct single *s, const char *path)
{
    s->path = dfx__pool_copy(&s->pool, path);
    if (!s->path)
        return dfx__no_memory();
    DFX__TRY(dfx__tensors_open_in_place(&s->file, path));
    dfx_status status = dfx__single_recognise(&s->facts, s->file);
    if (status == DFX_OK)
        status = read_parts(s);
    for (int i = 0; status == DFX_OK && i < s->facts.parts; i++)
        status = add_weights(s, i);
    if (status != DFX_OK)
        return dfx__fail_in(status, "%s", path);
    json_object_object_foreach (s->configs, name, config) {
        DFX__TRY(add_config(s, name, config));
    }
    if (s->facts.parts == 1)
        return DFX_OK;
    if (has_part(s, "text_encoder"))
        DFX__TRY(add_tokenizer(s, "tokenizer"));
    return has_part(s, "text_encoder_2") ? add_tokenizer(s, "tokenizer_2") : DFX_OK;
}

static dfx_status mount(dfx__mount **out, const char *path)
{
    struct single *s = calloc(1, sizeof *s);
    if (!s)
        return dfx__no_memory();
    dfx_status status = read_single(s, path);
    if (status == DFX_OK)
        status = dfx__mount_add(out, path, s->entry, s->entries, s, free_single);
    if (status != DFX_OK)
        free_single(s);
    return status;
}

/* What has one of these and is no model of one file is refused by what it holds. */
static const char *const ends[] = { ".safetensors", ".ckpt", ".pt", ".pth", ".bin", NULL };
const dfx__checkpoint_kind dfx__single_file_form = { "single file", ends, mount };
