/* progress.c - the progress bar, steps per second and the time left. */
#include "progress.h"

#include "dfxcl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 30, TEXT = 128 };

/* Seconds between two updates: often enough to look alive, seldom enough to cost nothing. */
static const double bar_interval = 0.1, line_interval = 1.0;

double progress_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void clear_bar(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = 0;
}

void progress_say(struct progress *p, const char *line)
{
    if (p->quiet)
        return;
    clear_bar(p);
    fprintf(stderr, "dfx: %s\n", line);
}

static void log_line(void *user, const char *line)
{
    progress_say(user, line);
}

void progress_start(struct progress *p, int quiet)
{
    const char *kind = getenv("TERM");
    memset(p, 0, sizeof *p);
    p->quiet = quiet;
    p->terminal = isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
    p->started = progress_clock();
    dfx_set_log(log_line, p);
}

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void print_duration(char text[TEXT], double seconds)
{
    int s = (int)(seconds + 0.5);
    if (s < 60)
        snprintf(text, TEXT, "%d s", s);
    else if (s < 3600)
        snprintf(text, TEXT, "%d min %02d s", s / 60, s % 60);
    else
        snprintf(text, TEXT, "%d h %02d min", s / 3600, s / 60 % 60);
}

/* "12/50, 3.4 steps/s, 11 s left"; slow runs read better as seconds for each step. */
static void describe(char text[TEXT], int step, int steps, double elapsed)
{
    char left[TEXT];
    if (step == 0 || elapsed <= 0) {
        snprintf(text, TEXT, "%d/%d", step, steps);
        return;
    }
    double rate = step / elapsed;
    print_duration(left, (steps - step) / rate);
    if (rate >= 0.1)
        snprintf(text, TEXT, "%d/%d, %.2f steps/s, %.32s left", step, steps, rate, left);
    else
        snprintf(text, TEXT, "%d/%d, %.1f s/step, %.32s left", step, steps, 1 / rate, left);
}

static void draw_bar(struct progress *p, int step, int steps, const char *text)
{
    char bar[BAR + 1];
    int filled = steps > 0 ? (int)((long)BAR * step / steps) : 0;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[BAR] = '\0';
    int room = terminal_width() - 1;
    if (room >= BAR + 3 + (int)strlen(text))
        fprintf(stderr, "\r[%s] %s\033[K", bar, text);
    else
        fprintf(stderr, "\r%.*s\033[K", room, text);
    p->shown = 1;
    fflush(stderr);
}

void progress_step(struct progress *p, int step, int steps)
{
    char text[TEXT];
    double now = progress_clock();
    if (step == 0)
        p->started = p->latest = now;
    double interval = p->terminal ? bar_interval : line_interval;
    int due = now - p->latest >= interval || step == steps || (p->terminal && step == 0);
    if (p->quiet || !due)
        return;
    p->latest = now;
    describe(text, step, steps, now - p->started);
    if (p->terminal)
        draw_bar(p, step, steps, text);
    else
        fprintf(stderr, "step %s\n", text);
}

void progress_end(struct progress *p)
{
    clear_bar(p);
    dfx_set_log(NULL, NULL);
}
