/* file.c - files mapped to read, and files that appear whole when written. */
#include "core/file.h"

#include "core/mount.h"
#include "core/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static dfx_status fail_errno(const char *path)
{
    return dfx__fail(DFX_ERROR_FILE, "%s: %s", path, strerror(errno));
}

static dfx_status map_open(dfx__mapped *out, const char *path, int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return fail_errno(path);
    if (S_ISDIR(info.st_mode))
        return dfx__fail(DFX_ERROR_FILE, "%s: is a folder, not a file", path);
    if (!S_ISREG(info.st_mode))
        return dfx__fail(DFX_ERROR_FILE, "%s: is not a regular file", path);
    if ((uintmax_t)info.st_size > SIZE_MAX / 2)
        return dfx__fail(DFX_ERROR_FILE, "%s: is too large for this machine's memory", path);
    *out = (dfx__mapped){ (const unsigned char *)"", (size_t)info.st_size, 1, NULL, NULL };
    if (out->bytes == 0) /* which mmap refuses */
        return DFX_OK;
    void *data = mmap(NULL, out->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return fail_errno(path);
    out->data = data;
    return DFX_OK;
}

dfx_status dfx__map_file(dfx__mapped *out, const char *path)
{
    switch (dfx__mount_map(out, path)) {
    case DFX__MOUNT_FILE:
        return DFX_OK;
    case DFX__MOUNT_ABSENT:
        return dfx__fail(DFX_ERROR_FILE, "%s: No such file or directory", path);
    default:
        break;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    if (fd < 0)
        return fail_errno(path);
    dfx_status status = map_open(out, path, fd);
    close(fd);
    return status;
}

void dfx__unmap_file(dfx__mapped *m)
{
    if (m->mount)
        dfx__mount_release(m->mount);
    else if (m->bytes)
        munmap((void *)m->data, m->bytes);
    *m = (dfx__mapped){ NULL, 0, 0, NULL, NULL };
}

void dfx__mapped_release(const void *part, size_t bytes)
{
#ifdef MADV_DONTNEED
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)part / page * page;
    if (bytes)
        madvise((void *)begin, (uintptr_t)part + bytes - begin, MADV_DONTNEED);
#else
    (void)part;
    (void)bytes;
#endif
}

dfx_status dfx__check_pointer(const void *data, size_t bytes, const char *path)
{
    static const char pointer[] = "version https://git-lfs";
    if (bytes < sizeof pointer - 1 || memcmp(data, pointer, sizeof pointer - 1) != 0)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_FORMAT,
                     "%s: is a Git LFS pointer, not the file: run 'git lfs pull' in its folder",
                     path);
}

char *dfx__path_join(const char *folder, const char *name)
{
    size_t n = strlen(folder);
    const char *separator = n == 0 || folder[n - 1] == '/' ? "" : "/";
    size_t size = n + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%s", folder, separator, name);
    return path;
}

int dfx__ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

int dfx__file_exists(const char *path)
{
    struct stat info;
    dfx__mount_place place = dfx__mount_find(path);
    if (place == DFX__MOUNT_FILE || place == DFX__MOUNT_ABSENT)
        return place == DFX__MOUNT_FILE;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

int dfx__file_exists_in(const char *folder, const char *name)
{
    char path[4096]; /* a longer one is none of the system's */
    size_t n = strlen(folder);
    const char *separator = !*name || n == 0 || folder[n - 1] == '/' ? "" : "/";
    int length = snprintf(path, sizeof path, "%s%s%s", folder, separator, name);
    return length > 0 && (size_t)length < sizeof path && dfx__file_exists(path);
}

int dfx__folder_exists(const char *path)
{
    struct stat info;
    dfx__mount_place place = dfx__mount_find(path);
    if (place != DFX__MOUNT_OUTSIDE)
        return place == DFX__MOUNT_FOLDER;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

dfx_status dfx__folder_list(const char *path, dfx__list_function *each, void *user)
{
    if (dfx__mount_find(path) != DFX__MOUNT_OUTSIDE) {
        dfx__mount_list(path, each, user);
        return DFX_OK;
    }
    DIR *list = opendir(path);
    if (!list)
        return errno == ENOENT || errno == ENOTDIR ? DFX_OK : fail_errno(path);
    for (struct dirent *d; (d = readdir(list));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            each(user, d->d_name);
    closedir(list);
    return DFX_OK;
}

/* The library's folder in the user's cache, made when it is missing; 0 when there is no place. */
static int cache_folder(char *path, size_t size)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    size_t room = size - sizeof "/dfxcl";
    int n;
    if (base && base[0] == '/')
        n = snprintf(path, room, "%s", base);
    else if (home && home[0] == '/')
        n = snprintf(path, room, "%s/.cache", home);
    else
        return 0;
    if (n < 0 || (size_t)n >= room)
        return 0;
    mkdir(path, 0700);
    memcpy(path + n, "/dfxcl", sizeof "/dfxcl");
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* FNV-1a; it only names a file, which says itself what it is of. */
static uint64_t hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

char *dfx__cache_path(const char *key, const char *ending)
{
    char folder[1024], name[64];
    struct stat info;
    if (!cache_folder(folder, sizeof folder))
        return NULL;
    snprintf(name, sizeof name, "%016" PRIx64 "%s", hash(key), ending);
    char *path = dfx__path_join(folder, name);
    if (path && stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* a FIFO would block */
        free(path);
        return NULL;
    }
    return path;
}

/* Opens a new file beside f->path, in the mode that an ordinary new file would have, which mkstemp
 * does not give. The name is short, as the final name may be as long as the file system allows. */
static int open_temporary(dfx__new_file *f)
{
    static atomic_uint serial;
    const char *slash = strrchr(f->path, '/');
    size_t folder = slash ? (size_t)(slash - f->path) + 1 : 0;
    size_t size = folder + 64;
    f->temporary = malloc(size);
    if (!f->temporary)
        return -1;
    int fd = -1;
    for (int tries = 0; fd < 0 && tries < 100; tries++) {
        snprintf(f->temporary, size, "%.*s.dfx-%ld-%u.tmp", (int)folder, f->path, (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0) {
        free(f->temporary);
        f->temporary = NULL;
    }
    return fd;
}

/* Where writing to `path` ends: a link stays a link. */
static char *resolve(const char *path, const struct stat *info, int exists)
{
    return exists && S_ISREG(info->st_mode) ? realpath(path, NULL) : strdup(path);
}

dfx_status dfx__file_create(dfx__new_file *out, const char *path)
{
    struct stat info;
    int exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return dfx__fail(DFX_ERROR_FILE, "%s: is a folder, not a file", path);
    dfx__new_file f = { .path = resolve(path, &info, exists) };
    if (!f.path)
        return fail_errno(path);
    /* A device or FIFO, such as /dev/null, is written to and must not be replaced. */
    int fd =
        exists && !S_ISREG(info.st_mode) ? open(path, O_WRONLY | O_CLOEXEC) : open_temporary(&f);
    if (fd >= 0)
        f.stream = fdopen(fd, "wb");
    if (!f.stream) {
        dfx_status status = fail_errno(path);
        if (fd >= 0)
            close(fd);
        dfx__file_abandon(&f);
        return status;
    }
    *out = f;
    return DFX_OK;
}

dfx_status dfx__file_commit(dfx__new_file *f)
{
    errno = 0;
    int failed = fflush(f->stream) != 0 || ferror(f->stream);
    if (!failed && f->temporary) /* or a crash could leave the new name with an empty file */
        failed = fsync(fileno(f->stream)) != 0;
    int error = errno;
    if (fclose(f->stream) != 0 && !failed) {
        failed = 1;
        error = errno;
    }
    f->stream = NULL;
    if (!failed && f->temporary && rename(f->temporary, f->path) != 0) {
        failed = 1;
        error = errno;
    }
    dfx_status status = DFX_OK;
    if (failed)
        status = dfx__fail(DFX_ERROR_FILE, "%s: cannot be written: %s", f->path,
                           error ? strerror(error) : "an earlier write failed");
    else if (f->temporary)
        f->temporary[0] = 0; /* it has moved: nothing to remove */
    dfx__file_abandon(f);
    return status;
}

void dfx__file_abandon(dfx__new_file *f)
{
    if (f->stream)
        fclose(f->stream);
    if (f->temporary && f->temporary[0])
        unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = (dfx__new_file){ 0 };
}
