/* test_resize.c - pictures in other sizes and as floats, against PIL and VaeImageProcessor. */
#include "dfxcl.h"
#include "media/depth.h"
#include "media/image_processor.h"
#include "tap.h"

#include <math.h>

static dfx_tensors *all;

static const dfx_tensor *find(const char *name)
{
    const dfx_tensor *t = dfx_tensors_find(all, name);
    if (!t) {
        printf("Bail out! the fixture has no %s\n", name);
        exit(99);
    }
    return t;
}

/* A tensor [H, W] or [H, W, C] as a picture; its pixels stay the tensor's. */
static dfx_image picture(const char *name)
{
    const dfx_tensor *t = find(name);
    int channels = t->spec.rank == 3 ? (int)t->spec.dim[2] : 1;
    return (dfx_image){ (int)t->spec.dim[1], (int)t->spec.dim[0], channels, (uint8_t *)t->data };
}

static const char *const filters[] = { "nearest", "box", "bilinear", "bicubic", "lanczos" };
enum { FILTERS = sizeof filters / sizeof *filters };

static void test_resized(const dfx_tensor *t)
{
    char kind[8], filter[16];
    int width, height, which = 0;
    dfx_image *image;
    if (sscanf(t->name, "%7[^/]/%15[^/]/%dx%d", kind, filter, &width, &height) != 4)
        return;
    while (which < FILTERS && strcmp(filters[which], filter) != 0)
        which++;
    if (which == FILTERS) /* a region */
        return;
    dfx_image from = picture(kind);
    if (!ok(dfx_image_resize(&image, &from, width, height, (dfx_image_filter)which) == DFX_OK, "%s",
            t->name))
        return;
    ok(image->width == width && image->height == height && image->channels == from.channels &&
           memcmp(image->pixels, t->data, t->bytes) == 0,
       "%s has PIL's pixels", t->name);
    dfx_image_free(image);
}

static void test_same_size(void)
{
    dfx_image from = picture("rgba"), *image;
    ok(dfx_image_resize(&image, &from, from.width, from.height, DFX_FILTER_LANCZOS) == DFX_OK &&
           memcmp(image->pixels, from.pixels, find("rgba")->bytes) == 0,
       "the same size is a copy, colours under alpha 0 included");
    dfx_image_free(image);
}

static void refused(int width, int height, int filter, const char *word)
{
    dfx_image from = picture("rgb"), *image;
    ok(dfx_image_resize(&image, &from, width, height, (dfx_image_filter)filter) ==
               DFX_ERROR_ARGUMENT &&
           strstr(dfx_error(), word),
       "refused: %s", dfx_error());
}

static void test_refusals(void)
{
    refused(0, 5, DFX_FILTER_LANCZOS, "0 x 5");
    refused(5, -1, DFX_FILTER_NEAREST, "5 x -1");
    refused(32769, 5, DFX_FILTER_LANCZOS, "32769");
    refused(32768, 32768, DFX_FILTER_LANCZOS, "pixels");
    refused(32768, 32768, DFX_FILTER_NEAREST, "pixels");
    refused(8, 8, 5, "filter 5");
}

/* VaeImageProcessor: which picture, with which options. */
static void test_processor(void)
{
    static const struct {
        const char *name;
        int mask, width, height, crop; /* crop: 0 none, 1 the mask's region, 2 everything */
        int padding;
    } cases[] = {
        { "image", 0, 0, 0, 0, 0 },          { "image_sized", 0, 20, 37, 0, 0 },
        { "mask", 1, 0, 0, 0, 0 },           { "mask_sized", 1, 24, 32, 0, 0 },
        { "image_crop_1", 0, 32, 16, 1, 1 }, { "mask_crop_1", 1, 32, 16, 1, 1 },
        { "image_crop_0", 0, 16, 24, 1, 0 }, { "mask_crop_0", 1, 16, 24, 1, 0 },
        { "image_fill_40", 0, 40, 8, 2, 0 }, { "image_fill_8", 0, 8, 40, 2, 0 },
    };
    dfx_image rgb = picture("rgb"), mask = picture("mask");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        float *floats = NULL;
        int width = cases[i].width, height = cases[i].height;
        dfx__region region = { 0, 0, rgb.width, rgb.height };
        dfx__image_processor p =
            cases[i].mask ? dfx__mask_processor(8) : dfx__init_image_processor(8);
        snprintf(name, sizeof name, "processor/%s", cases[i].name);
        const dfx_tensor *t = find(name);
        p.crop = cases[i].crop ? &region : NULL;
        if (cases[i].crop == 1)
            ok(dfx__mask_region(&region, &mask, width, height, cases[i].padding) == DFX_OK,
               "%s: the region", name);
        dfx_status status =
            dfx__image_preprocess(&floats, &width, &height, cases[i].mask ? &mask : &rgb, &p, name);
        ok(status == DFX_OK && height == t->spec.dim[1] && width == t->spec.dim[2] &&
               memcmp(floats, t->data, t->bytes) == 0,
           "%s has diffusers' values", name);
        free(floats);
    }
}

static void test_kinds(void)
{
    dfx_image gray = picture("gray"), rgba = picture("rgba"), rgb = picture("rgb");
    dfx__image_processor p = dfx__init_image_processor(8);
    float *floats, *expected;
    int width = 8, height = 16;
    if (ok(dfx__image_preprocess(&floats, &width, &height, &gray, &p, "gray") == DFX_OK, "gray")) {
        ok(memcmp(floats, floats + 128, 512) == 0 && memcmp(floats, floats + 256, 512) == 0,
           "gray becomes three equal channels");
        free(floats);
    }
    rgba.width = rgba.height = rgb.width = rgb.height = 1;
    p.factor = width = height = 1;
    if (ok(dfx__image_preprocess(&floats, &width, &height, &rgba, &p, "rgba") == DFX_OK &&
               dfx__image_preprocess(&expected, &width, &height, &rgb, &p, "rgb") == DFX_OK,
           "RGBA")) {
        ok(memcmp(floats, expected, 12) == 0, "alpha is dropped");
        free(floats);
        free(expected);
    }
    p.factor = 32;
    width = height = 0;
    ok(dfx__image_preprocess(&floats, &width, &height, &gray, &p, "cat.png") ==
               DFX_ERROR_ARGUMENT &&
           strstr(dfx_error(), "cat.png: 23 x 17"),
       "too small: %s", dfx_error());
}

static void test_region(const dfx_tensor *t)
{
    int padding, width, height;
    if (sscanf(t->name, "region/%d/%dx%d", &padding, &width, &height) != 3)
        return;
    dfx_image mask = picture("mask");
    dfx__region r;
    const int32_t *expected = t->data;
    ok(dfx__mask_region(&r, &mask, width, height, padding) == DFX_OK && r.x0 == expected[0] &&
           r.y0 == expected[1] && r.x1 == expected[2] && r.y1 == expected[3],
       "%s: %d %d %d %d", t->name, r.x0, r.y0, r.x1, r.y1);
}

static void test_overlay(void)
{
    dfx_image mask = picture("mask"), rgb = picture("rgb"), part = picture("overlay/picture");
    const int32_t *r = find("overlay/region")->data;
    dfx__region region = { r[0], r[1], r[2], r[3] };
    dfx_image *out;
    uint8_t black[17 * 23] = { 0 };
    dfx_image nothing = { 23, 17, 1, black };
    if (ok(dfx__apply_overlay(&out, &mask, &rgb, &part, &region) == DFX_OK, "an overlay")) {
        ok(memcmp(out->pixels, find("overlay/out")->data, find("overlay/out")->bytes) == 0,
           "has diffusers' pixels");
        dfx_image_free(out);
    }
    nothing.width = 17;
    nothing.height = 23;
    ok(dfx__apply_overlay(&out, &nothing, &rgb, &part, &region) == DFX_ERROR_ARGUMENT && !out,
       "refused: %s", dfx_error());
    ok(dfx__mask_region(&region, &nothing, 8, 8, 0) == DFX_ERROR_ARGUMENT, "refused: %s",
       dfx_error());
    ok(dfx__mask_region(&region, &mask, 8, 8, -1) == DFX_ERROR_ARGUMENT, "refused: %s",
       dfx_error());
}

static void test_depth(const dfx_tensor *t)
{
    int width, height;
    float got[256], worst = 0;
    if (sscanf(t->name, "depth/%dx%d", &width, &height) != 2)
        return;
    const dfx_tensor *depth = find("depth");
    dfx_status status = dfx__depth_map(got, width, height, depth->data, (int)depth->spec.dim[1],
                                       (int)depth->spec.dim[0]);
    for (int i = 0; i < width * height; i++)
        worst = fmaxf(worst, fabsf(got[i] - ((const float *)t->data)[i]));
    ok(status == DFX_OK && worst < 5e-6f, "%s: %.0e from torch", t->name, worst);
}

static void test_bad_depth(void)
{
    float out[4], flat[] = { 3, 3, 3, 3 }, infinite[] = { 1, 2, INFINITY, 4 };
    ok(dfx__depth_map(out, 2, 2, flat, 2, 2) == DFX_ERROR_ARGUMENT, "refused: %s", dfx_error());
    ok(dfx__depth_map(out, 2, 2, infinite, 2, 2) == DFX_ERROR_ARGUMENT, "refused: %s", dfx_error());
}

int main(void)
{
    if (!ok(dfx_tensors_open(&all, data("images/resize.safetensors")) == DFX_OK,
            "the fixture opens"))
        return 99;
    for (int i = 0; i < dfx_tensors_count(all); i++) {
        test_resized(dfx_tensors_at(all, i));
        test_region(dfx_tensors_at(all, i));
        test_depth(dfx_tensors_at(all, i));
    }
    test_same_size();
    test_refusals();
    test_processor();
    test_kinds();
    test_overlay();
    test_bad_depth();
    dfx_tensors_free(all);
    return done();
}
