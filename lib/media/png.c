/* png.c - PNG files as 8-bit pictures, converted as PIL does, and written whole. */
#include "media/png.h"

#include "core/file.h"
#include "core/memory.h"
#include "core/status.h"
#include "media/exif.h"
#include "media/image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    SIGNATURE = 8,
    CHUNK_BYTES = 2 << 20, /* the longest text, packed or not */
    CHUNKS_KEPT = 64,
    SKIPPED_BYTES = 64 << 20,
    DEFLATE_RATIO = 1032 /* the most that deflate can shrink (RFC 1951: 258 bytes in 2 bits) */
};

void dfx__png_error(png_structp png, png_const_charp message)
{
    dfx__png *p = png_get_error_ptr(png);
    snprintf(p->message, sizeof p->message, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

/* Of what does not touch pixels or texts: colour profiles, odd chunks. But libpng also just warns
 * of a chunk over the limit that it is given, and then allocates what the chunk says; and of a text
 * that it leaves out for want of memory. Before there is `info` nothing catches an error. */
void dfx__png_warning(png_structp png, png_const_charp message)
{
    const dfx__png *p = png_get_error_ptr(png);
    if (p->info && (strstr(message, "chunk data is too large") || strstr(message, "memory")))
        png_error(png, message);
}

dfx_status dfx__png_fail(const dfx__png *p)
{
    if (p->stream && ferror(p->stream))
        return dfx__fail(DFX_ERROR_FILE, "%s: %s", p->path, strerror(errno));
    if (p->stream && feof(p->stream))
        return dfx__fail(DFX_ERROR_FORMAT, "%s: the PNG file ends too early", p->path);
    if (strstr(p->message, "memory"))
        return dfx__fail(DFX_ERROR_MEMORY, "%s: out of memory", p->path);
    return dfx__fail(DFX_ERROR_FORMAT, "%s: not a good PNG file: %s", p->path, p->message);
}

void dfx__png_close(dfx__png *p)
{
    if (p->png)
        png_destroy_read_struct(&p->png, &p->info, NULL);
    if (p->stream && p->stream != stdin)
        fclose(p->stream);
    free(p->raw);
    free(p->rows);
    *p = (dfx__png){ 0 };
}

/* Other formats by name: what to do about them is known. */
static dfx_status fail_format(const dfx__png *p, const png_byte *start, size_t length)
{
    static const struct {
        const char *name, *start;
    } formats[] = { { "JPEG", "\xff\xd8\xff" }, { "GIF", "GIF8" }, { "WebP", "RIFF" },
                    { "TIFF", "II*" },          { "TIFF", "MM" },  { "BMP", "BM" } };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        size_t n = strlen(formats[i].start);
        if (n <= length && memcmp(start, formats[i].start, n) == 0)
            return dfx__fail(DFX_ERROR_FORMAT, "%s: looks like a %s; convert it to PNG", p->path,
                             formats[i].name);
    }
    return dfx__fail(DFX_ERROR_FORMAT, "%s: not a PNG file", p->path);
}

static dfx_status open_stream(dfx__png *p)
{
    png_byte signature[SIGNATURE];
    struct stat status;
    int from_stdin = strcmp(p->path, "-") == 0;
    p->stream = from_stdin ? stdin : fopen(p->path, "rb");
    if (from_stdin)
        p->path = "standard input";
    if (!p->stream)
        return dfx__fail(DFX_ERROR_FILE, "%s: %s", p->path, strerror(errno));
    if (fstat(fileno(p->stream), &status) == 0 && S_ISDIR(status.st_mode))
        return dfx__fail(DFX_ERROR_FILE, "%s: is a folder, not a PNG file", p->path);
    size_t got = fread(signature, 1, SIGNATURE, p->stream);
    if (got == SIGNATURE && png_sig_cmp(signature, 0, SIGNATURE) == 0)
        return DFX_OK;
    return fail_format(p, signature, got);
}

/* Chunks that say nothing about the pixels' bytes: not even unpacked when only pixels are read. */
static const png_byte skipped[] = "tEXt\0zTXt\0iTXt\0iCCP\0sPLT\0hIST\0cHRM\0gAMA\0sRGB";

static dfx_status read_header(dfx__png *p, int texts)
{
    p->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, p, dfx__png_error, dfx__png_warning);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (!p->info)
        return dfx__no_memory();
    if (setjmp(png_jmpbuf(p->png)))
        return dfx__png_fail(p);
    png_init_io(p->png, p->stream);
    png_set_sig_bytes(p->png, SIGNATURE);
    png_set_user_limits(p->png, DFX__IMAGE_SIDE, DFX__IMAGE_SIDE);
    png_set_chunk_cache_max(p->png, CHUNKS_KEPT);
    png_set_chunk_malloc_max(p->png, texts ? CHUNK_BYTES : SKIPPED_BYTES);
    png_set_keep_unknown_chunks(p->png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
    if (!texts)
        png_set_keep_unknown_chunks(p->png, PNG_HANDLE_CHUNK_NEVER, skipped,
                                    (int)(sizeof skipped / 5));
    png_read_info(p->png, p->info);
    return DFX_OK;
}

dfx_status dfx__png_open(dfx__png *p, const char *path, int texts)
{
    *p = (dfx__png){ .path = path };
    dfx_status status = open_stream(p);
    if (status == DFX_OK)
        status = read_header(p, texts);
    if (status != DFX_OK)
        dfx__png_close(p);
    return status;
}

/* A few bytes must not ask for gigabytes: deflate cannot have packed more than DEFLATE_RATIO. */
static dfx_status check_size(const dfx__png *p)
{
    struct stat status;
    int64_t width = png_get_image_width(p->png, p->info);
    int64_t height = png_get_image_height(p->png, p->info);
    if (width * height > DFX__IMAGE_PIXELS)
        return dfx__fail(DFX_ERROR_FORMAT, "%s: %d x %d is more than %d pixels", p->path,
                         (int)width, (int)height, DFX__IMAGE_PIXELS);
    int64_t bytes = (int64_t)png_get_rowbytes(p->png, p->info) * height;
    if (fstat(fileno(p->stream), &status) == 0 && S_ISREG(status.st_mode) &&
        status.st_size < bytes / DEFLATE_RATIO)
        return dfx__fail(DFX_ERROR_FORMAT, "%s: the file is too short for its %d x %d pixels",
                         p->path, (int)width, (int)height);
    return DFX_OK;
}

/* Reads the pixels into p->raw as one of: 8-bit gray, 8-bit RGB, 16-bit gray. Alpha is dropped, not
 * composited; 16-bit colour keeps the high byte. */
static dfx_status read_raw(dfx__png *p)
{
    if (setjmp(png_jmpbuf(p->png)))
        return dfx__png_fail(p);
    int color = png_get_color_type(p->png, p->info);
    if (color == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(p->png);
    else if (color == PNG_COLOR_TYPE_GRAY)
        png_set_expand_gray_1_2_4_to_8(p->png);
    if (color != PNG_COLOR_TYPE_GRAY)
        png_set_strip_16(p->png);
    png_set_strip_alpha(p->png);
    png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
    size_t row = png_get_rowbytes(p->png, p->info), height = png_get_image_height(p->png, p->info);
    p->raw = dfx__alloc(height, row);
    p->rows = dfx__alloc(height, sizeof *p->rows);
    if (!p->raw || !p->rows)
        return dfx__no_memory();
    for (size_t y = 0; y < height; y++)
        p->rows[y] = p->raw + y * row;
    png_read_image(p->png, p->rows);
    png_read_end(p->png, p->info);
    return DFX_OK;
}

/* p->raw as `to`: gray repeated, RGB to luma, 16-bit gray clipped at 255 (as PIL does). */
static void convert(const dfx__png *p, dfx_image *to)
{
    size_t n = (size_t)to->width * (size_t)to->height;
    int sixteen = png_get_bit_depth(p->png, p->info) == 16;
    int from = sixteen ? 2 : png_get_channels(p->png, p->info);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *s = p->raw + i * (size_t)from;
        uint8_t *d = to->pixels + i * (size_t)to->channels;
        if (from == 3 && to->channels == 3) {
            memcpy(d, s, 3);
        } else {
            uint8_t gray = from == 3 ? dfx__luma(s) : sixteen && s[0] ? 255 : s[from - 1];
            memset(d, gray, (size_t)to->channels);
        }
    }
}

static int orientation(const dfx__png *p)
{
    png_bytep bytes;
    png_uint_32 length;
    if (!png_get_eXIf_1(p->png, p->info, &length, &bytes))
        return 1;
    return dfx__exif_orientation(bytes, length);
}

/* Opens a file and reads p->raw; on failure nothing is left open. */
static dfx_status open_raw(dfx__png *p, const char *path)
{
    DFX__TRY(dfx__png_open(p, path, 0));
    dfx_status status = check_size(p);
    if (status == DFX_OK)
        status = read_raw(p);
    if (status != DFX_OK)
        dfx__png_close(p);
    return status;
}

dfx_status dfx_image_read(dfx_image **out, const char *path, int channels)
{
    dfx__png p;
    dfx_image *image = NULL;
    if (channels != 1 && channels != 3)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%s: a picture is read as 1 or 3 channels, not %d",
                         path, channels);
    DFX__TRY(open_raw(&p, path));
    dfx_status status = dfx__image_new(&image, (int)png_get_image_width(p.png, p.info),
                                       (int)png_get_image_height(p.png, p.info), channels, path);
    if (status == DFX_OK) {
        convert(&p, image);
        status = dfx__image_orient(&image, orientation(&p));
    }
    if (status == DFX_OK)
        *out = image;
    else
        dfx_image_free(image);
    dfx__png_close(&p);
    return status;
}

dfx_status dfx_image_read_levels(float **out, int *width, int *height, const char *path)
{
    dfx__png p;
    DFX__TRY(open_raw(&p, path));
    size_t w = png_get_image_width(p.png, p.info), h = png_get_image_height(p.png, p.info);
    size_t from = png_get_rowbytes(p.png, p.info) / w;
    dfx_status status = DFX_OK;
    float *levels = dfx__alloc(w * h, sizeof *levels);
    if (!levels)
        status = dfx__no_memory();
    else if (orientation(&p) != 1)
        status = dfx__fail(DFX_ERROR_UNSUPPORTED,
                           "%s: its EXIF data turns the picture; save it upright", path);
    for (size_t i = 0; i < w * h && status == DFX_OK; i++) {
        const uint8_t *s = p.raw + i * from;
        levels[i] = from == 3 ? dfx__luma(s) : from == 2 ? (float)(s[0] << 8 | s[1]) : s[0];
    }
    dfx__png_close(&p);
    if (status == DFX_OK) {
        *out = levels;
        *width = (int)w;
        *height = (int)h;
    } else {
        free(levels);
    }
    return status;
}

static const int color_types[] = {
    [1] = PNG_COLOR_TYPE_GRAY, [3] = PNG_COLOR_TYPE_RGB, [4] = PNG_COLOR_TYPE_RGB_ALPHA
};

static dfx_status write_stream(dfx__png *p, const dfx_image *image, png_textp texts, int count)
{
    p->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, p, dfx__png_error, dfx__png_warning);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    p->rows = dfx__alloc((size_t)image->height, sizeof *p->rows);
    if (!p->info || !p->rows)
        return dfx__no_memory();
    size_t row = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++)
        p->rows[y] = image->pixels + (size_t)y * row;
    if (setjmp(png_jmpbuf(p->png)))
        return ferror(p->stream) ? dfx__png_fail(p)
                                 : dfx__fail(DFX_ERROR_FILE, "%s: %s", p->path, p->message);
    png_init_io(p->png, p->stream);
    png_set_IHDR(p->png, p->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 color_types[image->channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_set_text(p->png, p->info, texts, count);
    png_write_info(p->png, p->info);
    png_write_image(p->png, p->rows);
    png_write_end(p->png, NULL);
    return DFX_OK;
}

static dfx_status write_file(const dfx_image *image, const char *path, png_textp texts, int count)
{
    int to_stdout = strcmp(path, "-") == 0;
    dfx__png p = { .path = to_stdout ? "standard output" : path };
    dfx__new_file file = { 0 };
    if (!to_stdout)
        DFX__TRY(dfx__file_create(&file, path));
    p.stream = to_stdout ? stdout : file.stream;
    dfx_status status = write_stream(&p, image, texts, count);
    png_destroy_write_struct(&p.png, &p.info);
    free(p.rows);
    if (!to_stdout && status == DFX_OK)
        return dfx__file_commit(&file);
    if (!to_stdout)
        dfx__file_abandon(&file);
    else if (status == DFX_OK && fflush(stdout) != 0)
        status = dfx__fail(DFX_ERROR_FILE, "standard output: %s", strerror(errno));
    return status;
}

dfx_status dfx_image_write(const dfx_image *image, const char *path, const dfx_image_text *texts,
                           int count)
{
    png_textp chunks;
    if (image->channels != 1 && image->channels != 3 && image->channels != 4)
        return dfx__fail(DFX_ERROR_ARGUMENT, "%s: a picture has 1, 3 or 4 channels, not %d", path,
                         image->channels);
    DFX__TRY(dfx__png_texts(&chunks, texts, count));
    dfx_status status = write_file(image, path, chunks, count);
    dfx__png_texts_free(chunks, count);
    return status;
}
