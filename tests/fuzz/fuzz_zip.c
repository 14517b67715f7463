/* fuzz_zip.c - reads any bytes as a ZIP archive, and as a DDUF file; all entries can be read. */
#include "core/file.h"
#include "dfxcl/checkpoint.h"
#include "weights/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned touched;

static void touch(const unsigned char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        touched += data[i];
}

static void read_archive(const uint8_t *data, size_t size)
{
    dfx__zip z;
    if (dfx__zip_open(&z, data, size) != DFX_OK)
        return;
    for (int i = 0; i < z.entries; i++) {
        const dfx__zip_entry *e = dfx__zip_find(&z, z.entry[i].name);
        if (e != &z.entry[i])
            abort();
        touch(e->data, e->stored);
        void *room = e->deflated ? malloc(e->bytes + 1) : NULL;
        if (room)
            dfx__zip_inflate(room, e);
        free(room);
    }
    dfx__zip_close(&z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    dfx_checkpoint *c;
    read_archive(data, size);
    snprintf(path, sizeof path, "/dev/shm/dfx-fuzz-%ld.dduf", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0)
        abort();
    if (dfx_checkpoint_open(&c, path) == DFX_OK && dfx_checkpoint_form(c)) {
        char *text;
        size_t bytes;
        if (dfx_checkpoint_read(&text, &bytes, c, "model_index.json") != DFX_OK)
            abort();
        free(text);
    }
    dfx_checkpoint_free(c);
    unlink(path);
    return 0;
}
