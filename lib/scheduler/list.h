/* list.h - every scheduler, in the alphabet's order: a new one is a line here and
 * lib/scheduler/NAME.c, which ends with `const dfx__scheduler_type dfx__NAME`. */
#ifndef DFX_SCHEDULER_LIST_H
#define DFX_SCHEDULER_LIST_H

#include "scheduler/scheduler.h"

#define DFX__SCHEDULERS(X)                                                                         \
    X(cm)                                                                                          \
    X(cogvideox_ddim)                                                                              \
    X(cogvideox_dpm)                                                                               \
    X(cosine_dpmsolver_multistep)                                                                  \
    X(ddim)                                                                                        \
    X(ddim_inverse)                                                                                \
    X(ddpm)                                                                                        \
    X(deis_multistep)                                                                              \
    X(dpmsolver_multistep)                                                                         \
    X(dpmsolver_multistep_inverse)                                                                 \
    X(dpmsolver_sde)                                                                               \
    X(dpmsolver_singlestep)                                                                        \
    X(edm_dpmsolver_multistep)                                                                     \
    X(edm_euler)                                                                                   \
    X(euler)                                                                                       \
    X(euler_ancestral)                                                                             \
    X(flow_euler)                                                                                  \
    X(flow_heun)                                                                                   \
    X(flow_lcm)                                                                                    \
    X(flow_map)                                                                                    \
    X(heun)                                                                                        \
    X(ipndm)                                                                                       \
    X(kdpm2)                                                                                       \
    X(kdpm2_ancestral)                                                                             \
    X(lcm)                                                                                         \
    X(lms)                                                                                         \
    X(pndm)                                                                                        \
    X(repaint)                                                                                     \
    X(sasolver)                                                                                    \
    X(scm)                                                                                         \
    X(score_sde_ve)                                                                                \
    X(tcd)                                                                                         \
    X(unipc_multistep)

#define DFX__DECLARE_SCHEDULER(name) extern const dfx__scheduler_type dfx__##name;
DFX__SCHEDULERS(DFX__DECLARE_SCHEDULER)
#undef DFX__DECLARE_SCHEDULER

/* The class of that name or short name, `Flax` before it or not; *preset receives the short name's
 * keys. NULL: there is none, which dfx_error() says. */
const dfx__scheduler_type *dfx__find_scheduler(const char *name, size_t length,
                                               const char **preset);

#endif
