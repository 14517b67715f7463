/* dpt_processor.c - pictures as depth estimators take them: resized as PIL does, and normalised. */
#include "pipeline/dpt_processor.h"

#include "core/memory.h"
#include "core/status.h"
#include "media/image.h"
#include "nn/config.h"

#include <math.h>
#include <string.h>

enum { MAX_SIDE = 1 << 13 };

const dfx__config_rule dfx__dpt_processor_rules[] = {
    { "_processor_class", "*", "the class" },
    { "crop_size", "*", "of do_center_crop" },
    { "data_format", "*", "pictures are read as they lie" },
    { "device", "*", "pictures are resized on the host" },
    { "disable_grouping", "*", "pictures are resized one by one" },
    { "do_center_crop", NULL, "only false: cutting pictures" },
    { "do_convert_rgb", "*", "pictures are RGB" },
    { "do_normalize", NULL, "whether image_mean and image_std count" },
    { "do_pad", NULL, "only false: margins around pictures" },
    { "do_reduce_labels", "*", "of segmentation" },
    { "do_rescale", NULL, "whether rescale_factor counts" },
    { "do_resize", NULL, "whether size counts" },
    { "ensure_multiple_of", NULL, "sides are multiples of it" },
    { "feature_extractor_type", NULL, "the class" },
    { "image_mean", NULL, "what is subtracted from each channel" },
    { "image_processor_type", NULL, "the class" },
    { "image_std", NULL, "what each channel is divided by" },
    { "input_data_format", "*", "pictures are read as they lie" },
    { "keep_aspect_ratio", NULL, "whether pictures keep their shape" },
    { "pad_size", "*", "of do_pad" },
    { "processor_class", "*", "the class" },
    { "resample", NULL, "PIL's number of the filter: 2 bilinear, 3 bicubic" },
    { "rescale_factor", NULL, "what bytes are multiplied with" },
    { "return_tensors", "*", "of Python" },
    { "size", NULL, "height and width that the model takes" },
    { "size_divisor", "*", "of do_pad" },
    { NULL, NULL, NULL },
};

static const dfx__config_rule size_rules[] = {
    { "height", NULL, "pixels" },
    { "width", NULL, "pixels" },
    { NULL, NULL, NULL },
};

/* A number for both sides, as transformers 4.25 wrote it, or an object. */
static void read_size(dfx__dpt_processor *p, dfx__config *c)
{
    dfx__config part;
    if (json_object_is_type(json_object_object_get(c->json, "size"), json_type_int)) {
        p->width = p->height = dfx__config_int(c, "size", 384, 1, MAX_SIDE);
        return;
    }
    int missing = dfx__config_open_part(&part, c, "size") ? 0 : 384;
    p->height = dfx__config_int(&part, "height", missing, 1, MAX_SIDE);
    p->width = dfx__config_int(&part, "width", missing, 1, MAX_SIDE);
    dfx__config_finish(&part, size_rules);
    dfx__config_close_part(&part, c);
    if (p->height == 0 || p->width == 0)
        dfx__config_refuse(c, "size", "only height and width are supported");
}

static void read_filter(dfx__dpt_processor *p, dfx__config *c)
{
    static const dfx_image_filter filters[] = { DFX_FILTER_NEAREST, DFX_FILTER_LANCZOS,
                                                DFX_FILTER_BILINEAR, DFX_FILTER_BICUBIC,
                                                DFX_FILTER_BOX };
    p->filter = filters[dfx__config_int(c, "resample", 3, 0, 4)];
}

/* Transformers writes one of two keys, by its version. */
static void check_class(dfx__config *c)
{
    static const char *const keys[] = { "image_processor_type", "feature_extractor_type" };
    for (int i = 0; i < 2; i++)
        if (strncmp(dfx__config_string(c, keys[i], "DPT"), "DPT", 3) != 0)
            dfx__config_refuse(c, keys[i],
                               "only DPTImageProcessor and DPTFeatureExtractor are "
                               "supported");
}

static void refuse_others(dfx__config *c)
{
    static const char *const keys[] = { "do_center_crop", "do_pad" };
    for (int i = 0; i < 2; i++)
        if (dfx__config_bool(c, keys[i], 0))
            dfx__config_refuse(c, keys[i], "only false is supported");
}

static void read_config(dfx__dpt_processor *p, dfx__config *c)
{
    check_class(c);
    refuse_others(c);
    p->resizes = dfx__config_bool(c, "do_resize", 1);
    p->keeps_shape = dfx__config_bool(c, "keep_aspect_ratio", 0);
    p->multiple = dfx__config_int(c, "ensure_multiple_of", 1, 1, MAX_SIDE);
    p->scale = dfx__config_float(c, "rescale_factor", 1 / 255.0f);
    read_size(p, c);
    read_filter(p, c);
    dfx__config_floats(c, "image_mean", p->mean, 3, 0.5f);
    dfx__config_floats(c, "image_std", p->std, 3, 0.5f);
    if (!dfx__config_bool(c, "do_rescale", 1))
        p->scale = 1;
    for (int i = 0, normalizes = dfx__config_bool(c, "do_normalize", 1); i < 3; i++) {
        p->mean[i] = normalizes ? p->mean[i] : 0;
        p->std[i] = normalizes ? p->std[i] : 1;
        if (!isfinite(p->mean[i]) || !isfinite(1 / p->std[i]))
            dfx__config_refuse(c, "image_std", "it must not be 0");
    }
}

dfx_status dfx__dpt_processor_open(dfx__dpt_processor *out, const char *folder)
{
    dfx__config config;
    DFX__TRY(dfx__config_open_file(&config, folder, "preprocessor_config.json"));
    read_config(out, &config);
    dfx_status status = dfx__config_finish(&config, dfx__dpt_processor_rules);
    dfx__config_close(&config);
    return status;
}

/* A side as Python rounds it; 0 where it would be too large. */
static int side_of(double side, int multiple)
{
    double y = rint(side / multiple) * multiple;
    return y <= MAX_SIDE ? (int)y : 0;
}

static dfx_status choose_size(int *width, int *height, const dfx__dpt_processor *p,
                              const dfx_image *image)
{
    double x = (double)p->width / image->width, y = (double)p->height / image->height;
    if (p->keeps_shape && fabs(1 - x) < fabs(1 - y))
        y = x;
    else if (p->keeps_shape)
        x = y;
    *width = p->resizes ? side_of(x * image->width, p->multiple) : image->width;
    *height = p->resizes ? side_of(y * image->height, p->multiple) : image->height;
    if (*width > 0 && *height > 0)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_ARGUMENT,
                     "image: %d x %d pixels cannot be resized to multiples of %d for the depth "
                     "estimator",
                     image->width, image->height, p->multiple);
}

static float *normalize(const dfx__dpt_processor *p, const dfx_image *image)
{
    size_t n = (size_t)image->width * (size_t)image->height * 3;
    float *y = dfx__alloc(n, sizeof *y);
    for (size_t i = 0; y && i < n; i++)
        y[i] = ((float)image->pixels[i] * p->scale - p->mean[i % 3]) / p->std[i % 3];
    return y;
}

dfx_status dfx__dpt_process(float **pixels, int *width, int *height, const dfx__dpt_processor *p,
                            const dfx_image *image)
{
    dfx_image *rgb, *resized = NULL;
    DFX__TRY(choose_size(width, height, p, image));
    DFX__TRY(dfx__image_convert(&rgb, image, 3));
    dfx_status status = dfx_image_resize(&resized, rgb, *width, *height, p->filter);
    if (status == DFX_OK) {
        *pixels = normalize(p, resized);
        status = *pixels ? DFX_OK : dfx__no_memory();
    }
    dfx_image_free(resized);
    dfx_image_free(rgb);
    return status;
}
