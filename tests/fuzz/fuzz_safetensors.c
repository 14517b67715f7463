/* fuzz_safetensors.c - reads any bytes as a safetensors file; what is read can be saved, and reads
 * the same again. */
#include "dfxcl/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const dfx_tensors *a, const dfx_tensors *b)
{
    if (dfx_tensors_count(a) != dfx_tensors_count(b))
        abort();
    for (int i = 0; i < dfx_tensors_count(a); i++) {
        const dfx_tensor *x = dfx_tensors_at(a, i), *y = dfx_tensors_find(b, x->name);
        if (!y || x->bytes != y->bytes || memcmp(&x->spec, &y->spec, sizeof x->spec) != 0 ||
            (x->bytes && memcmp(x->data, y->data, x->bytes) != 0))
            abort();
        if ((uintptr_t)x->data % dfx_dtype_size(x->spec.dtype) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], saved[64];
    dfx_tensors *t, *again;
    int fd = memfd_create("safetensors", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (dfx_tensors_open(&t, path) == DFX_OK) {
        snprintf(saved, sizeof saved, "/dev/shm/dfx-fuzz-%ld", (long)getpid());
        if (dfx_tensors_save(t, saved) != DFX_OK || dfx_tensors_open(&again, saved) != DFX_OK)
            abort();
        compare(t, again);
        dfx_tensors_free(again);
        dfx_tensors_free(t);
        unlink(saved);
    }
    close(fd);
    return 0;
}
