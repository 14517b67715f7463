/* convert_single.c - writes one file in the original layout, with the configs in its metadata. */
#include "core/data.h"
#include "core/dtype.h"
#include "core/file.h"
#include "core/status.h"
#include "weights/convert.h"
#include "weights/single_file.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A component that the layout has a place for, with its weights. */
struct part {
    const dfx__component *component;
    dfx__single_part place;
    dfx__weights *weights;
    dfx__key_map *keys;
    int other; /* its names are in the other spelling */
};

struct single {
    dfx__conversion *c;
    struct part part[DFX__SINGLE_PARTS];
    int parts;
    dfx__written *tensor;
    int tensors;
    json_object *metadata;
};

static int has(const dfx__weights *w, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return dfx__weights_find(w, name) != NULL;
}

/* ---- which layout a component has ---- */

static const char *const classes[] = {
    [DFX__LAYOUT_UNET] = "UNet2DConditionModel",
    [DFX__LAYOUT_VAE] = "AutoencoderKL",
    [DFX__LAYOUT_CLIP] = "CLIPTextModel",
    [DFX__LAYOUT_OPEN_CLIP] = "CLIPTextModel",
};

/* OpenAI's CLIP has quick_gelu, and OpenCLIP's towers have not. */
static dfx_status is_open_clip(int *out, dfx__conversion *c, const dfx__component *part)
{
    json_object *config;
    const char *path = dfx__pool_print(&c->pool, "%s/config.json", part->folder);
    DFX__TRY(path ? dfx__json_read(&config, path) : dfx__no_memory());
    const char *act = dfx__json_string(config, "hidden_act");
    *out = act && strcmp(act, "quick_gelu") != 0;
    json_object_put(config);
    return DFX_OK;
}

static const dfx__component *find_component(const dfx__conversion *c, const char *name)
{
    for (int i = 0; i < c->components; i++)
        if (strcmp(c->component[i].name, name) == 0)
            return &c->component[i];
    return NULL;
}

/* The family that has these text encoders. */
static dfx_status find_family(const dfx__single_family **out, dfx__conversion *c)
{
    const dfx__component *first = find_component(c, "text_encoder");
    const dfx__component *second = find_component(c, "text_encoder_2");
    int open = 0;
    if (first && !second)
        DFX__TRY(is_open_clip(&open, c, first));
    const dfx__single_family *f = dfx__single_families;
    for (; f->name; f++) {
        const char *one = f->text[0].name, *two = f->text[1].name;
        int is_second = strcmp(one, "text_encoder_2") == 0;
        if (second ? (first ? two != NULL : is_second)
                   : !two && !is_second && open == (f->text[0].layout == DFX__LAYOUT_OPEN_CLIP))
            break;
    }
    *out = f;
    return DFX_OK;
}

static dfx_status check_class(const dfx__component *part, dfx__layout layout)
{
    const char *needed = classes[layout];
    if (part->class && strncmp(part->class, needed, strlen(needed)) == 0 &&
        (strcmp(part->class, needed) == 0 ||
         strcmp(part->class, "CLIPTextModelWithProjection") == 0))
        return DFX_OK;
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "%s: the class %s has no place in the original layout, which has %s",
                     part->folder, part->class ? part->class : "(none)", needed);
}

/* ---- the numbers in names ---- */

static int count_levels(const dfx__weights *w, const char *format)
{
    int n = 0;
    while (n <= DFX__KEY_DEPTH && has(w, format, n))
        n++;
    return n;
}

/* Diffusers' side of dfx__find_blocks. */
static dfx_status find_shape(dfx__key_shape *s, struct part *p)
{
    const dfx__weights *w = p->weights;
    *s = (dfx__key_shape){ .layout = p->place.layout };
    switch (s->layout) {
    case DFX__LAYOUT_UNET:
        s->levels = count_levels(w, "down_blocks.%d.resnets.0.conv1.weight");
        s->layers = count_levels(w, "down_blocks.0.resnets.%d.conv1.weight");
        for (int i = 0; i < s->levels; i++) {
            if (i < DFX__KEY_LEVELS && has(w, "up_blocks.%d.attentions.0.norm.weight", i))
                s->attention |= 1u << i;
            if (!has(w, "down_blocks.%d.resnets.%d.conv1.weight", i, s->layers - 1) ||
                has(w, "down_blocks.%d.resnets.%d.conv1.weight", i, s->layers))
                return dfx__fail(DFX_ERROR_UNSUPPORTED,
                                 "layers_per_block differs from level to level, which the original "
                                 "layout has no names for");
        }
        break;
    case DFX__LAYOUT_VAE:
        s->levels = count_levels(w, "encoder.down_blocks.%d.resnets.0.conv1.weight");
        s->layers = count_levels(w, "encoder.down_blocks.0.resnets.%d.conv1.weight");
        s->other = has(w, "decoder.mid_block.attentions.0.query.weight");
        break;
    case DFX__LAYOUT_CLIP:
    case DFX__LAYOUT_OPEN_CLIP:
        s->other = has(w, "embeddings.token_embedding.weight");
        s->layers = count_levels(w, s->other ? "encoder.layers.%d.mlp.fc1.weight"
                                             : "text_model.encoder.layers.%d.mlp.fc1.weight");
        break;
    }
    p->other = s->other;
    return DFX_OK;
}

static dfx_status add_part(struct single *s, const dfx__component *component,
                           const dfx__single_part *place, const char *prefix)
{
    dfx__key_shape shape;
    DFX__TRY(check_class(component, place->layout));
    struct part *p = &s->part[s->parts++];
    p->component = component;
    p->place = *place;
    p->place.prefix = prefix;
    DFX__TRY(dfx__conversion_weights(&p->weights, s->c, component));
    dfx_status status = find_shape(&shape, p);
    if (status == DFX_OK)
        status = dfx__key_map_new(&p->keys, &shape);
    if (status == DFX_OK && strcmp(prefix, "cond_stage_model.model.") == 0 && shape.layers > 23)
        status = dfx__fail(DFX_ERROR_UNSUPPORTED,
                           "%d layers: files of Stable Diffusion 2 are read without those after "
                           "the 23rd",
                           shape.layers);
    return status ? dfx__fail_in(status, "%s", component->folder) : DFX_OK;
}

/* ---- the tensors ---- */

/* The three parts of a fused tensor come one by one, in any order. */
static dfx_status add_third(struct single *s, dfx__written *t, const dfx__key *key, int first)
{
    for (int i = first; i < s->tensors; i++)
        if (strcmp(s->tensor[i].name, t->name) == 0) {
            dfx__written *whole = &s->tensor[i];
            if (whole->spec.rank != t->spec.rank || whole->from != t->from ||
                whole->spec.dim[0] != 3 * t->spec.dim[0] ||
                (t->spec.rank == 2 && whole->spec.dim[1] != t->spec.dim[1]))
                return dfx__fail(DFX_ERROR_FORMAT, "the parts of %s have different shapes or types",
                                 t->name);
            whole->part[key->part] = t->part[0];
            whole->parts++;
            return DFX_OK;
        }
    dfx__written *whole = &s->tensor[s->tensors++];
    *whole = *t;
    if (t->spec.rank < 1)
        return dfx__fail(DFX_ERROR_FORMAT, "a part of %s has no dimension", t->name);
    whole->spec.dim[0] *= 3;
    whole->part[0] = (dfx__written_part){ NULL, 0, 0 };
    whole->part[key->part] = t->part[0];
    return DFX_OK;
}

static dfx_status add_tensor(struct single *s, const struct part *p, const dfx_weight *w, int first)
{
    dfx__key key;
    dfx__written t = dfx__conversion_tensor(s->c, w);
    if (dfx__ends_with(w->name, "position_ids") && p->place.layout == DFX__LAYOUT_OPEN_CLIP)
        return DFX_OK; /* 0, 1, 2 ..., which open_clip does not keep */
    if (!dfx__key_to_original(p->keys, w->name, &key))
        return dfx__fail(DFX_ERROR_UNSUPPORTED, "the tensor %s has no name in the original layout",
                         w->name);
    t.name = dfx__pool_print(&s->c->pool, "%s%s", p->place.prefix, key.name);
    if (!t.name)
        return dfx__no_memory();
    if (key.how == DFX__KEY_THIRD)
        return add_third(s, &t, &key, first);
    if (key.how == DFX__KEY_MATRIX && t.spec.rank == 2) {
        t.spec.rank = 4;
        t.spec.dim[2] = t.spec.dim[3] = 1;
    }
    if (key.how == DFX__KEY_TRANSPOSED) {
        if (t.spec.rank != 2)
            return dfx__fail(DFX_ERROR_FORMAT, "the tensor %s is no matrix", w->name);
        t.spec.dim[0] = w->spec.dim[1];
        t.spec.dim[1] = w->spec.dim[0];
        t.transposed = 1;
    }
    s->tensor[s->tensors++] = t;
    return DFX_OK;
}

static dfx_status add_tensors(struct single *s, const struct part *p)
{
    int first = s->tensors, count = dfx__weights_count(p->weights);
    for (int i = 0; i < count; i++)
        DFX__TRY(add_tensor(s, p, dfx__weights_at(p->weights, i), first));
    for (int i = first; i < s->tensors; i++)
        for (int k = 0; k < 3 && s->tensor[i].parts > 1; k++)
            if (s->tensor[i].parts != 3 || !s->tensor[i].part[k].data)
                return dfx__fail(DFX_ERROR_FORMAT, "a part of %s is missing", s->tensor[i].name);
    return DFX_OK;
}

/* ---- the configs ---- */

static dfx_status add_text(struct single *s, const char *key, const char *text, size_t bytes)
{
    json_object *value = json_object_new_string_len(text, (int)bytes);
    return dfx__json_put_new(s->metadata, key, value) ? DFX_OK : dfx__no_memory();
}

static dfx_status add_file(struct single *s, const char *folder, const char *name, const char *as)
{
    dfx__mapped file;
    char *path = dfx__path_join(folder, name);
    const char *key = dfx__pool_print(&s->c->pool, DFX__SINGLE_METADATA "%s", as);
    if (!path || !key) {
        free(path);
        return dfx__no_memory();
    }
    dfx_status status = dfx__map_file(&file, path);
    free(path);
    DFX__TRY(status);
    if (file.bytes < 1 << 25) /* a header has at most 100 MB */
        status = add_text(s, key, (const char *)file.data, file.bytes);
    dfx__unmap_file(&file);
    return status;
}

static int same_json(const char *path, const char *other)
{
    json_object *a = NULL, *b = NULL;
    int same = dfx__json_read(&a, path) == DFX_OK && dfx__json_read(&b, other) == DFX_OK &&
               json_object_equal(a, b);
    json_object_put(a);
    json_object_put(b);
    return same;
}

static int same_bytes(const char *path, const char *other)
{
    dfx__mapped a, b;
    if (dfx__map_file(&a, path) != DFX_OK)
        return 0;
    int same = 0;
    if (dfx__map_file(&b, other) == DFX_OK) {
        same = a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0;
        dfx__unmap_file(&b);
    }
    dfx__unmap_file(&a);
    return same;
}

/* Whether a tokenizer's vocabulary is the library's own, which need not be kept. */
static int is_clip_tokenizer(const dfx__component *part)
{
    char *path[] = { dfx__path_join(part->folder, "vocab.json"),
                     dfx__data_path("tokenizers/clip/vocab.json"),
                     dfx__path_join(part->folder, "merges.txt"),
                     dfx__data_path("tokenizers/clip/merges.txt"),
                     dfx__path_join(part->folder, "tokenizer.json") };
    int same = path[0] && path[1] && path[2] && path[3] && path[4] && dfx__file_exists(path[0]) &&
               dfx__file_exists(path[1]) && !dfx__file_exists(path[4]) &&
               same_json(path[0], path[1]) && same_bytes(path[2], path[3]);
    for (int i = 0; i < 5; i++)
        free(path[i]);
    return same;
}

static dfx_status add_configs(struct single *s, const dfx__component *part, const char *folder)
{
    const char *const *name;
    int count, clip = strncmp(folder, "tokenizer", 9) == 0 && is_clip_tokenizer(part);
    DFX__TRY(dfx__conversion_list(&name, &count, s->c, part->folder));
    for (int i = 0; i < count; i++) {
        const char *as = dfx__pool_print(&s->c->pool, "%s/%s", folder, name[i]);
        if (!as)
            return dfx__no_memory();
        if (dfx__is_weight_file(name[i]) || !dfx__single_is_config(as) ||
            (clip && (!strcmp(name[i], "vocab.json") || !strcmp(name[i], "merges.txt"))))
            continue;
        DFX__TRY(add_file(s, part->folder, name[i], as));
    }
    return DFX_OK;
}

static int is_kept(const struct single *s, const dfx__component *part)
{
    for (int i = 0; i < s->parts; i++)
        if (s->part[i].component == part)
            return 1;
    return !part->basename;
}

/* The index, in its own words unless a component is left out. */
static dfx_status add_index(struct single *s)
{
    dfx__conversion *c = s->c;
    int left_out = 0;
    for (int i = 0; i < c->components; i++) {
        const dfx__component *part = &c->component[i];
        if (is_kept(s, part)) {
            DFX__TRY(add_configs(s, part, part->name));
            continue;
        }
        dfx__log("%s: is left out, as the original layout has no place for it", part->folder);
        if (!dfx__single_leave_out(c->index, part->name))
            return dfx__no_memory();
        left_out = 1;
    }
    if (!left_out)
        return add_file(s, c->from, "model_index.json", "model_index.json");
    const char *text = dfx__json_text(c->index);
    if (!text)
        return dfx__no_memory();
    return add_text(s, DFX__SINGLE_METADATA "model_index.json", text, strlen(text));
}

static dfx_status add_metadata(struct single *s)
{
    char *own = dfx__path_join(s->c->from, "dfx.json");
    if (!own)
        return dfx__no_memory();
    dfx_status status = add_text(s, "format", "pt", 2);
    if (status == DFX_OK && !s->c->index)
        status = add_configs(s, s->part[0].component, s->part[0].place.name);
    else if (status == DFX_OK)
        status = add_index(s);
    if (status == DFX_OK && s->c->index && dfx__file_exists(own))
        status = add_file(s, s->c->from, "dfx.json", "dfx.json");
    free(own);
    for (int i = 0; i < s->parts && status == DFX_OK; i++)
        if (s->part[i].other) {
            char key[64];
            snprintf(key, sizeof key, DFX__SINGLE_OTHER_NAMES "%s", s->part[i].place.name);
            status = add_text(s, key, "1", 1);
        }
    return status;
}

/* ---- all of it ---- */

/* A component alone: an autoencoder is published without a prefix. */
static dfx_status add_alone(struct single *s)
{
    const dfx__component *part = &s->c->component[0];
    const dfx__single_family *f = dfx__single_families;
    const char *class = part->class ? part->class : "";
    int open = 0;
    if (strcmp(class, classes[DFX__LAYOUT_UNET]) == 0)
        return add_part(s, part, &dfx__single_unet, dfx__single_unet.prefix);
    if (strncmp(class, classes[DFX__LAYOUT_CLIP], strlen(classes[DFX__LAYOUT_CLIP])) != 0)
        return add_part(s, part, &dfx__single_vae, "");
    DFX__TRY(is_open_clip(&open, s->c, part));
    while (f->text[1].name ||
           (strstr(class, "WithProjection") ? strcmp(f->text[0].name, "text_encoder_2") != 0
                                            : (f->text[0].layout == DFX__LAYOUT_OPEN_CLIP) != open))
        f++;
    return add_part(s, part, &f->text[0], f->text[0].prefix);
}

static dfx_status add_parts(struct single *s)
{
    const dfx__single_family *family;
    if (!s->c->index)
        return add_alone(s);
    DFX__TRY(find_family(&family, s->c));
    const dfx__single_part *const places[] = { &dfx__single_unet, &dfx__single_vae,
                                               &family->text[0], &family->text[1] };
    for (int i = 0; i < DFX__SINGLE_PARTS; i++) {
        const dfx__component *part = places[i]->name ? find_component(s->c, places[i]->name) : NULL;
        if (part)
            DFX__TRY(add_part(s, part, places[i], places[i]->prefix));
    }
    if (!find_component(s->c, "unet"))
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "%s: has no unet, and of pipelines only Stable Diffusion 1, 2 and XL have "
                         "the original layout",
                         s->c->from);
    return DFX_OK;
}

static dfx_status write_single(struct single *s)
{
    int64_t count = 0;
    DFX__TRY(add_parts(s));
    for (int i = 0; i < s->parts; i++)
        count += dfx__weights_count(s->part[i].weights);
    s->tensor = dfx__alloc((size_t)count, sizeof *s->tensor);
    s->metadata = json_object_new_object();
    if (!s->tensor || !s->metadata)
        return dfx__no_memory();
    for (int i = 0; i < s->parts; i++) {
        dfx_status status = add_tensors(s, &s->part[i]);
        if (status != DFX_OK)
            return dfx__fail_in(status, "%s", s->part[i].component->folder);
    }
    DFX__TRY(add_metadata(s));
    return dfx__safetensors_write(s->c->to, s->tensor, s->tensors, s->metadata);
}

dfx_status dfx__convert_to_single(dfx__conversion *c)
{
    struct single s = { .c = c };
    dfx_status status = write_single(&s);
    for (int i = 0; i < s.parts; i++) {
        dfx__key_map_free(s.part[i].keys);
        dfx__weights_free(s.part[i].weights);
    }
    json_object_put(s.metadata);
    free(s.tensor);
    return status;
}
