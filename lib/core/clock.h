/* clock.h - time that only goes forward. */
#ifndef DFX_CORE_CLOCK_H
#define DFX_CORE_CLOCK_H

double dfx__seconds(void);

#endif
