/* same_picture.c - whether two PNG files of a size differ by no more than 1/255 in the mean. */
#include "dfxcl.h"

#include <stdio.h>
#include <stdlib.h>

static dfx_image *read_picture(const char *path)
{
    dfx_image *image;
    if (dfx_image_read(&image, path, 3) == DFX_OK)
        return image;
    printf("%s\n", dfx_error());
    return NULL;
}

int main(int argc, char **argv)
{
    dfx_image *a = argc == 3 ? read_picture(argv[1]) : NULL;
    dfx_image *b = a ? read_picture(argv[2]) : NULL;
    double sum = 0;
    int same = a && b && a->width == b->width && a->height == b->height;
    if (same) {
        size_t n = (size_t)a->width * (size_t)a->height * 3;
        for (size_t i = 0; i < n; i++)
            sum += abs(a->pixels[i] - b->pixels[i]);
        same = sum <= (double)n;
        printf("%s differs by %g/255\n", argv[2], sum / (double)n);
    }
    dfx_image_free(a);
    dfx_image_free(b);
    return !same;
}
