/* tap.h - tests that print TAP: ok(condition, "what"), then return done(). */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failures;

__attribute__((format(printf, 4, 5), unused)) static int tap_ok(int pass, const char *file,
                                                                int line, const char *format, ...)
{
    va_list args;
    printf("%sok %d - ", pass ? "" : "not ", ++tap_count);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    if (!pass) {
        tap_failures++;
        printf("# failed at %s:%d\n", file, line);
    }
    fflush(stdout);
    return pass;
}

/* A path under tests/data, wherever the build is. */
__attribute__((unused)) static const char *tap_data(const char *name)
{
    static char path[4][1024];
    static int next;
    const char *top = getenv("srcdir");
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/tests/data/%s", top ? top : ".", name);
    return p;
}

__attribute__((unused)) static int tap_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failures != 0;
}

#define ok(condition, ...) tap_ok((condition) != 0, __FILE__, __LINE__, __VA_ARGS__)
#define skip(why, ...)                                                                             \
    do {                                                                                           \
        printf("ok %d - ", ++tap_count);                                                           \
        printf(__VA_ARGS__);                                                                       \
        printf(" # SKIP %s\n", why);                                                               \
    } while (0)
#define done() tap_done()
#define data(name) tap_data(name)

#endif
