/* break_file.c - files that cannot be read, and a disk that is full: streams then write to
 * /dev/full, so that the C library itself finds out, when it would. */
#include "break.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

static int fails(int error)
{
    if (!break_now(BREAK_file))
        return 0;
    errno = error;
    return 1;
}

BREAK_WRAP(FILE *, fopen, (const char *path, const char *mode))
{
    return fails(EMFILE) ? NULL : __real_fopen(path, mode);
}

BREAK_WRAP(DIR *, opendir, (const char *path))
{
    return fails(EMFILE) ? NULL : __real_opendir(path);
}

BREAK_WRAP(void *, mmap, (void *at, size_t bytes, int protection, int flags, int file, off_t from))
{
    return fails(ENOMEM) ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, file, from);
}

BREAK_WRAP(size_t, fread, (void *to, size_t size, size_t count, FILE *file))
{
    return fails(EIO) ? 0 : __real_fread(to, size, count, file);
}

/* ---- writing ---- */

static int is_full(void)
{
    if (!break_now(BREAK_write))
        return 0;
    errno = ENOSPC;
    return 1;
}

/* Before a stream is written to. The standard ones are not files of ours. */
static void fill(FILE *file)
{
    if (file == stdout || file == stderr || fileno(file) < 0 || !is_full())
        return;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full >= 0) {
        dup2(full, fileno(file));
        close(full);
    }
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    if (!(flags & O_CREAT))
        return fails(EMFILE) ? -1 : __real_open(path, flags);
    va_start(args, flags);
    mode_t mode = va_arg(args, mode_t);
    va_end(args);
    return is_full() ? -1 : __real_open(path, flags, mode);
}

BREAK_WRAP(int, mkstemp, (char *path))
{
    return is_full() ? -1 : __real_mkstemp(path);
}

BREAK_WRAP(int, mkdir, (const char *path, mode_t mode))
{
    return is_full() ? -1 : __real_mkdir(path, mode);
}

BREAK_WRAP(int, rename, (const char *from, const char *to))
{
    return is_full() ? -1 : __real_rename(from, to);
}

BREAK_WRAP(int, fsync, (int file))
{
    return is_full() ? -1 : __real_fsync(file);
}

BREAK_WRAP(FILE *, fdopen, (int file, const char *mode))
{
    return is_full() ? NULL : __real_fdopen(file, mode);
}

BREAK_WRAP(size_t, fwrite, (const void *from, size_t size, size_t count, FILE *file))
{
    fill(file);
    return __real_fwrite(from, size, count, file);
}

BREAK_WRAP(int, fputs, (const char *text, FILE *file))
{
    fill(file);
    return __real_fputs(text, file);
}

BREAK_WRAP(int, fputc, (int c, FILE *file))
{
    fill(file);
    return __real_fputc(c, file);
}

BREAK_WRAP(int, fflush, (FILE * file))
{
    if (file)
        fill(file);
    return __real_fflush(file);
}

BREAK_WRAP(int, fclose, (FILE * file))
{
    fill(file);
    return __real_fclose(file);
}
