/* png_text.c - the text chunks of PNG files: Latin-1 in the file or UTF-8, UTF-8 in memory. */
#include "media/png.h"

#include "core/memory.h"
#include "core/status.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

enum { KEY_LENGTH = 79 };

/* The next code point of *text, which moves behind it; a byte that is not UTF-8 is U+FFFD. */
static int32_t next_code_point(const char **text)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)*text, -1, &code);
    *text += used > 0 ? used : 1;
    return used > 0 ? code : 0xfffd;
}

/* What tEXt allows: Latin-1's printable characters and the line feed. */
static int in_latin1(int32_t code)
{
    return code == '\n' || (code >= 0x20 && code <= 0x7e) || (code >= 0xa0 && code <= 0xff);
}

static int fits_latin1(const char *text)
{
    while (*text)
        if (!in_latin1(next_code_point(&text)))
            return 0;
    return 1;
}

/* A copy in Latin-1, or in UTF-8 with its wrong bytes replaced; NULL when there is no memory. */
static char *encode(const char *text, int latin1)
{
    char *copy = dfx__alloc(strlen(text) + 1, 3), *end = copy; /* U+FFFD takes three bytes */
    while (copy && *text) {
        int32_t code = next_code_point(&text);
        if (latin1)
            *end++ = (char)code;
        else
            end += utf8proc_encode_char(code, (utf8proc_uint8_t *)end);
    }
    return copy;
}

static int good_key(const char *key)
{
    size_t n = strlen(key);
    if (n < 1 || n > KEY_LENGTH || key[0] == ' ' || key[n - 1] == ' ' || strstr(key, "  "))
        return 0;
    for (; *key; key++)
        if (*key < ' ' || *key > '~')
            return 0;
    return 1;
}

void dfx__png_texts_free(png_textp chunks, int count)
{
    for (int i = 0; chunks && i < count; i++)
        free(chunks[i].text);
    free(chunks);
}

dfx_status dfx__png_texts(png_textp *out, const dfx_image_text *texts, int count)
{
    *out = NULL;
    if (count == 0)
        return DFX_OK;
    png_textp chunks = dfx__alloc((size_t)count, sizeof *chunks);
    if (!chunks)
        return dfx__no_memory();
    for (int i = 0; i < count; i++) {
        int latin1 = fits_latin1(texts[i].text);
        chunks[i].key = (png_charp)texts[i].key; /* libpng only reads it */
        chunks[i].compression = latin1 ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
        chunks[i].text = encode(texts[i].text, latin1);
        if (chunks[i].text && good_key(texts[i].key))
            continue;
        dfx_status status =
            chunks[i].text
                ? dfx__fail(DFX_ERROR_ARGUMENT, "text key \"%s\": must be 1 to %d ASCII characters",
                            texts[i].key, KEY_LENGTH)
                : dfx__no_memory();
        dfx__png_texts_free(chunks, count);
        return status;
    }
    *out = chunks;
    return DFX_OK;
}

/* Reads on to the file's end: texts may follow the pixels. libpng passes over pixels only once it
 * has prepared for rows. */
static dfx_status read_to_end(dfx__png *p)
{
    if (setjmp(png_jmpbuf(p->png)))
        return dfx__png_fail(p);
    png_start_read_image(p->png);
    png_read_end(p->png, p->info);
    return DFX_OK;
}

/* UTF-8 of a chunk's text; of Latin-1 each character takes at most two bytes. */
static char *decode(const char *text, int latin1)
{
    if (!latin1)
        return encode(text, 0);
    char *copy = dfx__alloc(strlen(text) + 1, 2), *end = copy;
    for (; copy && *text; text++)
        end += utf8proc_encode_char((unsigned char)*text, (utf8proc_uint8_t *)end);
    return copy;
}

static dfx_status copy_texts(dfx_image_text *to, const png_text *from, int count)
{
    for (int i = 0; i < count; i++) {
        int latin1 = from[i].compression < PNG_ITXT_COMPRESSION_NONE;
        to[i].key = decode(from[i].key, 1);
        to[i].text = decode(from[i].text ? from[i].text : "", latin1);
        if (!to[i].key || !to[i].text)
            return dfx__no_memory();
    }
    return DFX_OK;
}

dfx_status dfx_image_read_texts(dfx_image_text **out, int *count, const char *path)
{
    dfx__png p;
    png_textp chunks = NULL;
    int n = 0;
    dfx_image_text *texts = NULL;
    DFX__TRY(dfx__png_open(&p, path, 1));
    dfx_status status = read_to_end(&p);
    if (status == DFX_OK)
        png_get_text(p.png, p.info, &chunks, &n);
    if (status == DFX_OK && n > 0) {
        texts = dfx__alloc((size_t)n, sizeof *texts);
        status = texts ? copy_texts(texts, chunks, n) : dfx__no_memory();
    }
    dfx__png_close(&p);
    if (status != DFX_OK) {
        dfx_image_texts_free(texts, n);
        return status;
    }
    *out = texts;
    *count = n;
    return DFX_OK;
}

void dfx_image_texts_free(dfx_image_text *texts, int count)
{
    for (int i = 0; texts && i < count; i++) {
        free((char *)texts[i].key);
        free((char *)texts[i].text);
    }
    free(texts);
}
