/* oplist.c - the operators as an array, for tests and benchmarks. */
#include "op/oplist.h"

#define ADDRESS(name) &dfx__##name,
const dfx_op *const dfx__ops[] = { DFX__OPS(ADDRESS) };
const int dfx__op_count = sizeof dfx__ops / sizeof *dfx__ops;
