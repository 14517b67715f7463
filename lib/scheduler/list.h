/* list.h - every scheduler, in the alphabet's order: a new one is a line here and
 * lib/scheduler/NAME.c, which ends with `const dfx__scheduler_type dfx__NAME`. */
#ifndef DFX_SCHEDULER_LIST_H
#define DFX_SCHEDULER_LIST_H

#include "scheduler/scheduler.h"

#define DFX__SCHEDULERS(X)                                                                         \
    X(cm)                                                                                          \
    X(cogvideox_ddim)                                                                              \
    X(cogvideox_dpm)                                                                               \
    X(ddim)                                                                                        \
    X(ddim_inverse)                                                                                \
    X(ddpm)                                                                                        \
    X(dpmsolver_multistep)                                                                         \
    X(euler)                                                                                       \
    X(lcm)                                                                                         \
    X(pndm)                                                                                        \
    X(repaint)                                                                                     \
    X(scm)                                                                                         \
    X(score_sde_ve)                                                                                \
    X(tcd)

#define DFX__DECLARE_SCHEDULER(name) extern const dfx__scheduler_type dfx__##name;
DFX__SCHEDULERS(DFX__DECLARE_SCHEDULER)
#undef DFX__DECLARE_SCHEDULER

/* The class of that name or short name, `Flax` before it or not; *preset receives the short name's
 * keys. NULL: there is none, which dfx_error() says. */
const dfx__scheduler_type *dfx__find_scheduler(const char *name, size_t length,
                                               const char **preset);

#endif
