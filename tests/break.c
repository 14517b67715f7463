/* break.c - dfx as tests/break_dfx, whose n-th call of a kind fails. Environment:
 *
 *   DFX_BREAK=KIND:N     the N-th call of that kind (break.h) fails
 *   DFX_BREAK=KIND:N+    and so do all after it; of `write` and `lost` they always do
 *   DFX_BREAK_COUNT=FILE a line "KIND CALLS" for each kind is appended to the file at the end
 *
 * Objects of OpenCL that are not given back end it with status 99: the leak checker does not see
 * what a driver allocates. tests/test_break.sh runs it. */
#include "break.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_HELD = 99 };

#define BREAK_ENTRY(name) #name,
static const char *const names[] = { BREAK_KINDS(BREAK_ENTRY) };
#undef BREAK_ENTRY

static atomic_long calls[BREAK_NONE];
static atomic_int held;
static enum break_kind broken = BREAK_NONE;
static long first;
static int onwards;

int break_now(enum break_kind kind)
{
    long n = atomic_fetch_add(&calls[kind], 1) + 1;
    return kind == broken && (onwards ? n >= first : n == first);
}

void break_held(int more)
{
    atomic_fetch_add(&held, more);
}

/* `dfx selftest` has a child test kernels: here none, or its crash would be taken for a kernel's.
 */
BREAK_WRAP(pid_t, fork, (void))
{
    errno = EAGAIN;
    return -1;
}

static void write_counts(const char *path)
{
    long n[BREAK_NONE]; /* without those of this file */
    for (int kind = 0; kind < BREAK_NONE; kind++)
        n[kind] = atomic_load(&calls[kind]);
    FILE *file = fopen(path, "a");
    for (int kind = 0; file && kind < BREAK_NONE; kind++)
        fprintf(file, "%s %ld\n", names[kind], n[kind]);
    if (file)
        fclose(file);
}

static void end(void)
{
    const char *path = getenv("DFX_BREAK_COUNT");
    if (path)
        write_counts(path);
    if (atomic_load(&held) != 0) {
        fprintf(stderr, "break: %d objects of OpenCL were not given back\n", atomic_load(&held));
        fflush(stdout);
        _exit(EXIT_HELD);
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("DFX_BREAK");
    size_t length = text ? strcspn(text, ":") : 0;
    for (int kind = 0; text && kind < BREAK_NONE; kind++)
        if (strlen(names[kind]) == length && strncmp(names[kind], text, length) == 0)
            broken = (enum break_kind)kind;
    if (text && text[length]) {
        char *after;
        first = strtol(text + length + 1, &after, 10);
        onwards = *after == '+' || broken == BREAK_write || broken == BREAK_lost;
    }
    if (text && (broken == BREAK_NONE || first < 1)) {
        fprintf(stderr, "break: DFX_BREAK=%s is not KIND:N\n", text);
        _exit(EXIT_HELD);
    }
    atexit(end);
}
