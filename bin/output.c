/* output.c - where pictures go: names, and whether they can be written. */
#include "output.h"

#include "cmd.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLUG = 48 };

static int check_stdout(void)
{
    if (isatty(STDOUT_FILENO))
        return cmd_fail_with(EXIT_USAGE, "standard output is a terminal; redirect it to a file");
    return EXIT_DONE;
}

/* Makes and removes a file beside `path`: permissions alone do not say that it will work. */
static int try_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *probe = NULL;
    if (asprintf(&probe, "%.*s.dfx-check-XXXXXX", slash ? (int)(slash - path) + 1 : 0, path) < 0)
        return cmd_fail_with(EXIT_FAILED, "out of memory");
    int code = EXIT_DONE, fd = mkstemp(probe);
    if (fd < 0) {
        code = cmd_fail_with(EXIT_FAILED, "%s: cannot be written: %s", path, strerror(errno));
    } else {
        unlink(probe);
        close(fd);
    }
    free(probe);
    return code;
}

int output_check(const char *path)
{
    struct stat status;
    if (strcmp(path, "-") == 0)
        return check_stdout();
    if (!*path)
        return cmd_fail_with(EXIT_USAGE, "the output's name is empty");
    if (stat(path, &status) != 0 || S_ISREG(status.st_mode))
        return try_folder(path);
    if (S_ISDIR(status.st_mode))
        return cmd_fail_with(EXIT_FAILED, "%s: is a folder; name a file in it", path);
    if (access(path, W_OK) != 0)
        return cmd_fail_with(EXIT_FAILED, "%s: cannot be written: %s", path, strerror(errno));
    return EXIT_DONE;
}

/* Lower-case words joined by hyphens; letters beyond ASCII stay as they are. */
static void make_slug(char slug[SLUG + 1], const char *prompt)
{
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)prompt; *c; c++) {
        if (n == SLUG) {
            if ((*c & 0xc0) == 0x80) { /* in the middle of a character: drop its first half */
                while (n > 0 && ((unsigned char)slug[n - 1] & 0xc0) == 0x80)
                    n--;
                n -= n > 0;
            }
            break;
        }
        if (isalnum(*c) || *c >= 0x80)
            slug[n++] = (char)(*c < 0x80 ? tolower(*c) : *c);
        else if (n > 0 && slug[n - 1] != '-')
            slug[n++] = '-';
    }
    while (n > 0 && slug[n - 1] == '-')
        n--;
    slug[n] = '\0';
}

char *output_name(const char *given, const char *prompt, uint64_t seed, int index, int count)
{
    char slug[SLUG + 1], number[16] = "", *name = NULL, *stem = NULL;
    const char *extension = ".png";
    if (count > 1)
        snprintf(number, sizeof number, "-%d", index + 1);
    if (given) {
        const char *slash = strrchr(given, '/'), *dot = strrchr(given, '.');
        int has_extension = dot && dot > given && (!slash || dot > slash + 1);
        extension = has_extension ? dot : "";
        stem = strndup(given, strlen(given) - strlen(extension));
    } else {
        make_slug(slug, prompt);
        if (asprintf(&stem, "%s-%" PRIu64, *slug ? slug : "dfx", seed) < 0)
            stem = NULL;
    }
    if (!stem || asprintf(&name, "%s%s%s", stem, number, extension) < 0)
        name = NULL;
    free(stem);
    return name;
}

static int write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return 0;
    int whole = fputs(text, file) >= 0 && fflush(file) == 0 && !ferror(file);
    int error = errno;
    whole &= fclose(file) == 0;
    errno = error ? error : errno;
    return whole;
}

int output_write(const char *path, const char *text)
{
    struct stat status;
    const char *slash = strrchr(path, '/');
    char *temporary = NULL;
    int is_file = stat(path, &status) != 0 || S_ISREG(status.st_mode), whole = 0;
    errno = 0;
    if (!is_file)
        whole = write_text(path, text);
    else if (asprintf(&temporary, "%.*s.dfx-%ld.tmp", slash ? (int)(slash - path) + 1 : 0, path,
                      (long)getpid()) < 0)
        temporary = NULL;
    else
        whole = write_text(temporary, text) && rename(temporary, path) == 0;
    int error = errno;
    if (temporary && !whole)
        unlink(temporary);
    free(temporary);
    if (whole)
        return EXIT_DONE;
    return cmd_fail_with(EXIT_FAILED, "%s: cannot be written: %s", path, strerror(error));
}
