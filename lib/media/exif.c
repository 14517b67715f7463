/* exif.c - which way up a picture is: the orientation of EXIF data. */
#include "media/exif.h"

#include "core/status.h"

#include <string.h>

enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 };

/* EXIF's bytes are a TIFF file of either byte order. */
struct tiff {
    const uint8_t *bytes;
    size_t length;
    int big;
};

/* A number of two or four bytes; 0 behind the end. */
static uint32_t number(const struct tiff *t, size_t at, size_t size)
{
    uint32_t value = 0;
    if (at > t->length || size > t->length - at)
        return 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | t->bytes[at + (t->big ? i : size - 1 - i)];
    return value;
}

int dfx__exif_orientation(const uint8_t *bytes, size_t length)
{
    struct tiff t = { bytes, length, 0 };
    if (length < 8 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0))
        return 1;
    t.big = bytes[0] == 'M';
    size_t at = number(&t, 4, 4);
    uint32_t entries = number(&t, at, 2);
    for (at += 2; entries > 0 && at < length; entries--, at += ENTRY)
        if (number(&t, at, 2) == ORIENTATION && number(&t, at + 2, 2) == SHORT) {
            uint32_t value = number(&t, at + 8, 2);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    return 1;
}

/* 1 to 8: bit 0 of turn[] swaps the axes, bits 1 and 2 then mirror the source's x and y. */
static const uint8_t turn[] = { 0, 0, 2, 6, 4, 1, 5, 7, 3 };

dfx_status dfx__image_orient(dfx_image **image, int orientation)
{
    const dfx_image *from = *image;
    dfx_image *to;
    int swap = turn[orientation] & 1, mirror_x = turn[orientation] & 2;
    int mirror_y = turn[orientation] & 4;
    size_t channels = (size_t)from->channels;
    if (turn[orientation] == 0)
        return DFX_OK;
    DFX__TRY(dfx__image_new(&to, swap ? from->height : from->width,
                            swap ? from->width : from->height, from->channels,
                            "turning a picture"));
    uint8_t *d = to->pixels;
    for (int y = 0; y < to->height; y++)
        for (int x = 0; x < to->width; x++, d += channels) {
            int s = swap ? y : x, t = swap ? x : y;
            s = mirror_x ? from->width - 1 - s : s;
            t = mirror_y ? from->height - 1 - t : t;
            memcpy(d, from->pixels + ((size_t)t * (size_t)from->width + (size_t)s) * channels,
                   channels);
        }
    dfx_image_free(*image);
    *image = to;
    return DFX_OK;
}
