/* fuzz_png.c - reads any bytes as a PNG file: its pixels both ways and its texts. */
#include "dfxcl/image.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    dfx_image *image;
    dfx_image_text *texts;
    int count, fd = memfd_create("png", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (int channels = 1; channels <= 3; channels += 2)
        if (dfx_image_read(&image, path, channels) == DFX_OK)
            dfx_image_free(image);
    if (dfx_image_read_texts(&texts, &count, path) == DFX_OK)
        dfx_image_texts_free(texts, count);
    close(fd);
    return 0;
}
