/* fuzz_pickle.c - reads any bytes as a file of torch.save, and as the pickle in one with a storage;
 * all that a tensor has can be read. */
#include "weights/tensors.h"
#include "weights/torch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned touched;

static void touch(const dfx_tensors *t)
{
    for (int i = 0; i < dfx_tensors_count(t); i++) {
        const dfx_tensor *x = dfx_tensors_at(t, i);
        if ((uintptr_t)x->data % dfx_dtype_size(x->spec.dtype) != 0 && x->bytes)
            abort();
        for (size_t k = 0; k < x->bytes; k++)
            touched += ((const unsigned char *)x->data)[k];
    }
}

static void read_pickle(const uint8_t *data, size_t size)
{
    static unsigned char bytes[64];
    dfx__storage storage[] = { { "0", bytes, sizeof bytes, NULL }, { "1", bytes, 8, NULL } };
    dfx_tensors *t;
    if (dfx_tensors_new(&t) != DFX_OK)
        return;
    dfx__torch c = { .tensors = t, .storage = storage, .storages = 2, .may_copy = 256 };
    if (dfx__pickle_open(&c.pickle, data, size) == DFX_OK && dfx__torch_tensors(&c) == DFX_OK)
        touch(t);
    dfx__pickle_close(&c.pickle);
    dfx_tensors_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    dfx_tensors *t;
    read_pickle(data, size);
    int fd = memfd_create("torch", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (dfx_tensors_open(&t, path) == DFX_OK) {
        touch(t);
        dfx_tensors_free(t);
    }
    close(fd);
    return 0;
}
