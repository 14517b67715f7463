/* driver.c - runs a fuzz target on the files given as arguments, for compilers without libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run(const char *path)
{
    FILE *f = fopen(path, "rb");
    long size = -1;
    if (f && fseek(f, 0, SEEK_END) == 0)
        size = ftell(f);
    uint8_t *data = size < 0 ? NULL : malloc(size ? (size_t)size : 1);
    int good =
        data && fseek(f, 0, SEEK_SET) == 0 && fread(data, 1, (size_t)size, f) == (size_t)size;
    if (good)
        LLVMFuzzerTestOneInput(data, (size_t)size);
    else
        perror(path);
    free(data);
    if (f)
        fclose(f);
    return good;
}

int main(int argc, char **argv)
{
    int good = 1;
    for (int i = 1; i < argc; i++)
        good &= run(argv[i]);
    return !good;
}
