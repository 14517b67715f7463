/* checkpoint.c - finds a model by its path, and shows a file that holds a whole one as a folder. */
#include "weights/checkpoint.h"

#include "core/file.h"
#include "core/memory.h"
#include "core/status.h"
#include "weights/hub.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The last is NULL. */
static const dfx__checkpoint_kind *const kinds[] = { &dfx__dduf, &dfx__single_file_form, NULL };

struct dfx_checkpoint {
    dfx__pool pool;
    const char *path, *form;
    dfx__mount *mount;
};

static const dfx__checkpoint_kind *find_kind(const char *path)
{
    for (int i = 0; kinds[i]; i++)
        for (const char *const *end = kinds[i]->ends; *end; end++)
            if (dfx__ends_with(path, *end))
                return kinds[i];
    return NULL;
}

/* The longest beginning of the path that is a file; NULL when there is none, as in "sd/unet". */
static char *find_file(dfx__pool *pool, const char *path)
{
    struct stat info; /* of the disk, not of mounts */
    char *file = dfx__pool_copy(pool, path);
    while (file && stat(file, &info) != 0) {
        char *slash = strrchr(file, '/');
        if (!slash || slash == file)
            return NULL;
        *slash = 0;
    }
    return file && S_ISREG(info.st_mode) ? file : NULL;
}

static dfx_status open_file(dfx_checkpoint *c, const char *file)
{
    const dfx__checkpoint_kind *kind = find_kind(file);
    if (!kind)
        return DFX_OK;
    c->form = kind->form;
    c->mount = dfx__mount_again(file);
    return c->mount ? DFX_OK : kind->mount(&c->mount, file);
}

/* What is on the disk comes before a hub's name, also in a file: "sd.dduf/unet". */
static dfx_status open_path(dfx_checkpoint *c, const char *model)
{
    const char *file = find_file(&c->pool, model);
    if (!file && dfx__hub_is_name(model)) {
        DFX__TRY(dfx__hub_find(&c->path, &c->pool, model));
        file = c->path ? find_file(&c->pool, c->path) : NULL;
    }
    if (!c->path)
        c->path = dfx__pool_copy(&c->pool, model);
    if (!c->path)
        return dfx__no_memory();
    return file ? open_file(c, file) : DFX_OK;
}

dfx_status dfx_checkpoint_open(dfx_checkpoint **out, const char *model)
{
    *out = NULL;
    dfx_checkpoint *c = calloc(1, sizeof *c);
    if (!c)
        return dfx__no_memory();
    dfx_status status = open_path(c, model);
    if (status != DFX_OK) {
        dfx_checkpoint_free(c);
        return status;
    }
    *out = c;
    return DFX_OK;
}

void dfx_checkpoint_free(dfx_checkpoint *c)
{
    if (!c)
        return;
    dfx__mount_release(c->mount);
    dfx__pool_free(&c->pool);
    free(c);
}

const char *dfx_checkpoint_path(const dfx_checkpoint *c)
{
    return c->path;
}

const char *dfx_checkpoint_form(const dfx_checkpoint *c)
{
    return c->form;
}

static char *path_of(const dfx_checkpoint *c, const char *name)
{
    return *name ? dfx__path_join(c->path, name) : strdup(c->path);
}

int dfx_checkpoint_has(const dfx_checkpoint *c, const char *name)
{
    return dfx__file_exists_in(c->path, name);
}

dfx_status dfx_checkpoint_read(char **text, size_t *bytes, const dfx_checkpoint *c,
                               const char *name)
{
    dfx__mapped file;
    char *path = path_of(c, name);
    if (!path)
        return dfx__no_memory();
    dfx_status status = dfx__map_file(&file, path);
    free(path);
    if (status != DFX_OK)
        return status;
    *text = dfx__alloc(file.bytes + 1, 1);
    *bytes = file.bytes;
    if (*text)
        memcpy(*text, file.data, file.bytes);
    dfx__unmap_file(&file);
    return *text ? DFX_OK : dfx__no_memory();
}
