/* progress.h - how far a run is: a bar on a terminal, lines elsewhere, nothing when quiet. */
#ifndef PROGRESS_H
#define PROGRESS_H

struct progress {
    int quiet, terminal;
    int shown;              /* a bar stands on the terminal's line */
    double started, latest; /* seconds: of the first step, of what was shown last */
};

/* Takes over stderr: the library's log lines go around the bar, or nowhere when quiet. */
void progress_start(struct progress *p, int quiet);

/* `step` of `steps` are done; the clock starts at step 0. */
void progress_step(struct progress *p, int step, int steps);

/* A line for the user, around the bar; nothing when quiet. */
void progress_say(struct progress *p, const char *line);

/* Clears the bar and gives stderr back. */
void progress_end(struct progress *p);

/* Seconds on a clock that only goes forward. */
double progress_clock(void);

#endif
