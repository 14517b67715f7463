/* png.h - what reading and writing PNG files share: libpng's structures and the text chunks. */
#ifndef DFX_MEDIA_PNG_H
#define DFX_MEDIA_PNG_H

#include "dfxcl/image.h"

#include <png.h>
#include <stdio.h>

/* libpng reports through longjmp. Each stage below sets its own jump and keeps everything that
 * outlives the jump in here. */
typedef struct {
    const char *path;
    FILE *stream;
    png_structp png;
    png_infop info;
    png_bytep raw; /* rows as libpng gives them */
    png_bytepp rows;
    char message[96]; /* libpng's */
} dfx__png;

/* Opens `path` ("-" is standard input) and reads up to the pixels. With `texts` the text chunks are
 * kept, without they are skipped. On failure nothing is left open. */
dfx_status dfx__png_open(dfx__png *p, const char *path, int texts);
void dfx__png_close(dfx__png *p);

/* Fails with libpng's message, or the stream's where that is the cause. */
dfx_status dfx__png_fail(const dfx__png *p);

/* libpng's error function: keeps the message in the dfx__png and jumps. */
_Noreturn void dfx__png_error(png_structp png, png_const_charp message);
void dfx__png_warning(png_structp png, png_const_charp message);

/* The chunks for `texts`; *out owns everything and is freed with dfx__png_texts_free. */
dfx_status dfx__png_texts(png_textp *out, const dfx_image_text *texts, int count);
void dfx__png_texts_free(png_textp chunks, int count);

#endif
