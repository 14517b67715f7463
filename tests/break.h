/* break.h - what break_dfx, the command whose calls fail on purpose, counts and how its wrappers
 * look. The linker (--wrap) has each call of our objects to a function below go to ours. */
#ifndef BREAK_H
#define BREAK_H

/* What can be broken, as DFX_BREAK names it. */
#define BREAK_KINDS(X)                                                                             \
    X(malloc)  /* an allocation: of the C library, json-c, libpng, a thread */                     \
    X(file)    /* a file that is opened, listed, mapped or read */                                 \
    X(write)   /* a file that is made, written, renamed; from the n-th on: the disk is full */     \
    X(create)  /* an OpenCL context, queue, buffer, program or kernel */                           \
    X(build)   /* clBuildProgram */                                                                \
    X(enqueue) /* work given to a queue, and waiting for it */                                     \
    X(query)   /* a question to OpenCL, an argument of a kernel */                                 \
    X(lost)    /* any of these four; from the n-th on: the device is gone */

#define BREAK_ENTRY(name) BREAK_##name,
enum break_kind { BREAK_KINDS(BREAK_ENTRY) BREAK_NONE };
#undef BREAK_ENTRY

/* Counts a call; whether it is to fail. */
int break_now(enum break_kind kind);

/* Objects of OpenCL that are held: +1 for one that is made or retained, -1 for one given back. */
void break_held(int more);

/* The head of a wrapper: of what the linker calls the real one and ours. */
#define BREAK_WRAP(type, name, parameters)                                                         \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

#endif
