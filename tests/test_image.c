/* test_image.c - PNG files against what PIL reads in them, texts, hostile files, writing. */
#include "dfxcl.h"
#include "media/exif.h"
#include "tap.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "test_image.XXXXXX";

static const char *scratch(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *picture(const char *name)
{
    char file[128];
    snprintf(file, sizeof file, "images/%s.png", name);
    return data(file);
}

/* A tensor NAME.rgb or NAME.l has the pixels of NAME.png. */
static void compare(const dfx_tensor *t)
{
    char name[64];
    const char *dot = strrchr(t->name, '.');
    int channels = strcmp(dot, ".rgb") == 0 ? 3 : 1;
    dfx_image *image;
    snprintf(name, sizeof name, "%.*s", (int)(dot - t->name), t->name);
    if (!ok(dfx_image_read(&image, picture(name), channels) == DFX_OK, "%s reads", t->name)) {
        printf("# %s\n", dfx_error());
        return;
    }
    ok(image->height == t->spec.dim[0] && image->width == t->spec.dim[1] &&
           image->channels == channels,
       "%s has its size", t->name);
    ok(memcmp(image->pixels, t->data, t->bytes) == 0, "%s has PIL's pixels", t->name);
    dfx_image_free(image);
}

static void test_kinds(void)
{
    dfx_tensors *expected;
    if (!ok(dfx_tensors_open(&expected, data("images/images.safetensors")) == DFX_OK,
            "the expected pixels are there"))
        return;
    for (int i = 0; i < dfx_tensors_count(expected); i++)
        compare(dfx_tensors_at(expected, i));
    dfx_tensors_free(expected);
}

static const char *find_text(const dfx_image_text *texts, int count, const char *key)
{
    for (int i = 0; i < count; i++)
        if (strcmp(texts[i].key, key) == 0)
            return texts[i].text;
    return "(none)";
}

static void test_texts(void)
{
    dfx_image_text *t;
    int n;
    ok(dfx_image_read_texts(&t, &n, picture("texts")) == DFX_OK && n == 7, "seven texts are read");
    ok(strcmp(find_text(t, n, "plain"), "two\nlines") == 0, "tEXt");
    ok(strcmp(find_text(t, n, "latin"), "caf\xc3\xa9") == 0, "tEXt in Latin-1 becomes UTF-8");
    ok(strlen(find_text(t, n, "packed")) == 600, "zTXt");
    ok(strcmp(find_text(t, n, "unicode"), "\xe3\x82\x8a\xe3\x82\x93\xe3\x81\x94") == 0, "iTXt");
    ok(strlen(find_text(t, n, "unicode packed")) == 200, "compressed iTXt");
    ok(strcmp(find_text(t, n, "after"), "the pixels") == 0, "tEXt after the pixels");
    ok(strcmp(find_text(t, n, "empty"), "") == 0, "an empty text");
    dfx_image_texts_free(t, n);
    ok(dfx_image_read_texts(&t, &n, picture("rgb8")) == DFX_OK && n == 0, "a file without texts");
    dfx_image_texts_free(t, n);
}

static int starts_bad(const struct dirent *entry)
{
    return strncmp(entry->d_name, "bad_", 4) == 0 && strncmp(entry->d_name, "bad_text", 8) != 0;
}

static void test_bad_files(void)
{
    struct dirent **files;
    int n = scandir(data("images"), &files, starts_bad, alphasort);
    ok(n == 15, "the bad files are there");
    for (int i = 0; i < n; i++) {
        char file[300];
        dfx_image *image;
        snprintf(file, sizeof file, "images/%s", files[i]->d_name);
        dfx_status status = dfx_image_read(&image, data(file), 3);
        ok(status == DFX_ERROR_FORMAT, "%s is refused: %s", files[i]->d_name, dfx_error());
        free(files[i]);
    }
    free(files);
}

static void test_text_bombs(void)
{
    static const char *const names[] = { "bad_text_bomb", "bad_text_many" };
    for (int i = 0; i < 2; i++) {
        dfx_image *image;
        dfx_image_text *t;
        int count = 0;
        ok(dfx_image_read(&image, picture(names[i]), 3) == DFX_OK, "%s: pixels", names[i]);
        dfx_image_free(image);
        dfx_status status = dfx_image_read_texts(&t, &count, picture(names[i]));
        ok(status != DFX_OK || count <= 64, "%s: %d texts", names[i], count);
        if (status == DFX_OK)
            dfx_image_texts_free(t, count);
    }
    dfx_image_text *t;
    int count;
    ok(dfx_image_read_texts(&t, &count, picture("bad_long_text")) == DFX_ERROR_FORMAT &&
           strstr(dfx_error(), "too large"),
       "a text that says to be 2 GiB long is not believed: %s", dfx_error());
}

static void write_bytes(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    fwrite(bytes, 1, n, f);
    fclose(f);
}

static void test_truncated(void)
{
    char bytes[4096];
    FILE *f = fopen(picture("rgba8_adam7"), "rb");
    size_t n = fread(bytes, 1, sizeof bytes, f), refused = 0;
    fclose(f);
    for (size_t length = 0; length < n; length++) {
        dfx_image *image;
        write_bytes(scratch("short.png"), bytes, length);
        if (dfx_image_read(&image, scratch("short.png"), 3) == DFX_OK)
            dfx_image_free(image);
        else
            refused++;
    }
    ok(refused == n, "every shortened file is refused, %d of %d", (int)refused, (int)n);
    unlink(scratch("short.png"));
}

/* EXIF data cut short, and with wrong bytes: no orientation, and nothing is read beyond. */
static void test_hostile_exif(void)
{
    static const uint8_t exif[] = { 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0,
                                    3,   0,   0, 0,  1, 0, 6, 0, 0, 0, 0, 0,    0 };
    int wrong = 0;
    ok(dfx__exif_orientation(exif, sizeof exif) == 6, "an orientation");
    for (size_t n = 0; n < 20; n++) {
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, exif, n);
        wrong += dfx__exif_orientation(copy, n) != 1;
        free(copy);
    }
    for (size_t i = 0; i < sizeof exif * 8; i++) {
        uint8_t *copy = malloc(sizeof exif);
        memcpy(copy, exif, sizeof exif);
        copy[i / 8] ^= (uint8_t)(1 << i % 8);
        int orientation = dfx__exif_orientation(copy, sizeof exif);
        wrong += orientation < 1 || orientation > 8;
        free(copy);
    }
    ok(wrong == 0, "%d wrong answers for hostile EXIF data", wrong);
}

static void test_other_formats(void)
{
    static const struct {
        const char *start, *name;
    } formats[] = { { "\xff\xd8\xff\xe0....", "JPEG" },
                    { "RIFF....WEBP", "WebP" },
                    { "GIF89a..", "GIF" } };
    for (int i = 0; i < 3; i++) {
        dfx_image *image;
        write_bytes(scratch("other"), formats[i].start, strlen(formats[i].start));
        ok(dfx_image_read(&image, scratch("other"), 3) == DFX_ERROR_FORMAT &&
               strstr(dfx_error(), formats[i].name),
           "refused by name: %s", dfx_error());
    }
    unlink(scratch("other"));
}

static void test_arguments(void)
{
    dfx_image *image;
    ok(dfx_image_read(&image, "/no/such/file.png", 3) == DFX_ERROR_FILE, "no such file");
    ok(strstr(dfx_error(), "/no/such/file.png") != NULL, "and the message names it");
    ok(dfx_image_read(&image, folder, 3) == DFX_ERROR_FILE, "a folder is not a file");
    ok(dfx_image_read(&image, picture("rgb8"), 2) == DFX_ERROR_ARGUMENT, "no two channels");
}

static void test_levels(void)
{
    static const char *const names[] = { "gray16", "gray8", "rgb8", "gray16_adam7" };
    for (int i = 0; i < 4; i++) {
        dfx_image *gray;
        float *levels, most = 0;
        int width, height, same = 1;
        if (!ok(dfx_image_read_levels(&levels, &width, &height, picture(names[i])) == DFX_OK &&
                    dfx_image_read(&gray, picture(names[i]), 1) == DFX_OK,
                "the levels of %s", names[i]))
            continue;
        for (int k = 0; k < width * height; k++) {
            same = same && gray->pixels[k] == (levels[k] < 255 ? (int)levels[k] : 255);
            most = fmaxf(most, levels[k]);
        }
        ok(same && width == 13 && height == 9 && (most > 255) == (i % 3 == 0),
           "are its own, up to %g", most);
        dfx_image_free(gray);
        free(levels);
    }
    float *levels;
    int width, height;
    ok(dfx_image_read_levels(&levels, &width, &height, picture("exif3")) == DFX_ERROR_UNSUPPORTED,
       "refused: %s", dfx_error());
    ok(dfx_image_read_levels(&levels, &width, &height, picture("bad_huge")) == DFX_ERROR_FORMAT,
       "refused: %s", dfx_error());
}

static void test_floats(void)
{
    /* [3, 1, 4]; 0.5/255 and 1.5/255 lie on the border and go to the even neighbour */
    const float floats[] = { 0.0f,       1.0f,       0.5f, 2.0f, -1.0f, NAN,
                             0.5f / 255, 1.5f / 255, 0.2f, 0.4f, 0.6f,  INFINITY };
    const uint8_t bytes[] = { 0, 0, 51, 255, 0, 102, 128, 0, 153, 255, 2, 255 };
    dfx_image *image;
    ok(dfx_image_from_floats(&image, floats, 4, 1) == DFX_OK, "a picture from floats");
    ok(image->width == 4 && image->height == 1 && image->channels == 3, "its size");
    ok(memcmp(image->pixels, bytes, sizeof bytes) == 0, "clamped and rounded half to even");
    dfx_image_free(image);
    ok(dfx_image_from_floats(&image, floats, 0, 1) == DFX_ERROR_ARGUMENT, "no empty picture");
}

static void test_write(void)
{
    uint8_t pixels[2 * 3 * 3];
    dfx_image image = { 3, 2, 3, pixels }, *back;
    const dfx_image_text texts[] = { { "prompt", "caf\xc3\xa9\nnoir" },
                                     { "negative_prompt", "\xe3\x82\x8a\xf0\x9f\x8d\x8e" },
                                     { "broken", "a\xff"
                                                 "b" },
                                     { "none", "" } };
    dfx_image_text *t;
    int n;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 14);
    ok(dfx_image_write(&image, scratch("w.png"), texts, 4) == DFX_OK, "a picture is written");
    ok(dfx_image_read(&back, scratch("w.png"), 3) == DFX_OK, "and read back");
    ok(memcmp(back->pixels, pixels, sizeof pixels) == 0, "with the same pixels");
    dfx_image_free(back);
    ok(dfx_image_read_texts(&t, &n, scratch("w.png")) == DFX_OK && n == 4, "and its texts");
    for (int i = 0; i < n; i++)
        ok(strcmp(find_text(t, n, texts[i].key), i == 2 ? "a\xef\xbf\xbd"
                                                          "b"
                                                        : texts[i].text) == 0,
           "text %s", texts[i].key);
    dfx_image_texts_free(t, n);
    unlink(scratch("w.png"));
}

static void test_write_errors(void)
{
    uint8_t pixels[3] = { 0 };
    dfx_image image = { 1, 1, 3, pixels };
    dfx_image_text long_key = {
        "a key that is longer than the seventy-nine characters which the PNG "
        "specification allows",
        ""
    };
    ok(dfx_image_write(&image, "/no/such/folder/o.png", NULL, 0) == DFX_ERROR_FILE, "no folder");
    ok(dfx_image_write(&image, "/dev/full", NULL, 0) == DFX_ERROR_FILE, "a full device: %s",
       dfx_error());
    ok(dfx_image_write(&image, scratch("k.png"), &long_key, 1) == DFX_ERROR_ARGUMENT, "a long key");
    ok(access(scratch("k.png"), F_OK) != 0, "leaves no file");
    image.channels = 2;
    ok(dfx_image_write(&image, scratch("k.png"), NULL, 0) == DFX_ERROR_ARGUMENT, "no two channels");
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    test_kinds();
    test_texts();
    test_bad_files();
    test_text_bombs();
    test_truncated();
    test_other_formats();
    test_hostile_exif();
    test_arguments();
    test_levels();
    test_floats();
    test_write();
    test_write_errors();
    ok(rmdir(folder) == 0, "no file is left behind");
    return done();
}
