/* adams_bashforth.c - Adams and Bashforth's formulas of order 1 to 4, for even steps. */
#include "scheduler/adams_bashforth.h"

void dfx__adams_bashforth(float *const e[], int known, float *sum, size_t count)
{
    for (size_t k = 0; k < count; k++)
        switch (known) {
        case 1:
            sum[k] = e[0][k];
            break;
        case 2:
            sum[k] = (3 * e[0][k] - e[1][k]) / 2;
            break;
        case 3:
            sum[k] = (23 * e[0][k] - 16 * e[1][k] + 5 * e[2][k]) / 12;
            break;
        default:
            sum[k] = (1.0f / 24) * (55 * e[0][k] - 59 * e[1][k] + 37 * e[2][k] - 9 * e[3][k]);
        }
}
