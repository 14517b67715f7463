/* beta_quantile.c - the inverse of the regularised incomplete beta function with equal parameters.
 */
#include "scheduler/scheduler.h"

#include <float.h>
#include <math.h>

/* I_x(a, a) a B(a, a) / x^a for x <= 1/2, the hypergeometric series of Abramowitz & Stegun 26.5.4
 * for F(a, 1 - a; a + 1; x): its terms fall at least as fast as 2^-k. */
static double series(double x, double a)
{
    double sum = 1, power = 1; /* power: (1 - a)_k / k! x^k */
    for (int k = 1; k < 200; k++) {
        power *= (k - a) / k * x;
        double term = power * a / (a + k);
        sum += term;
        if (fabs(term) < sum * DBL_EPSILON / 4)
            break;
    }
    return sum;
}

double dfx__beta_quantile(double p, double a)
{
    if (p > 0.5)
        return 1 - dfx__beta_quantile(1 - p, a);
    double scale = a * exp(2 * lgamma(a) - lgamma(2 * a)); /* a B(a, a) */
    double goal = p * scale, x = pow(goal, 1 / a);
    /* Newton on u = x^a, in which the function is nearly straight: five rounds are plenty. */
    for (int round = 0; round < 20 && x > 0; round++) {
        double u = pow(x, a), change = (u * series(x, a) - goal) / pow(1 - x, a - 1);
        double next = pow(fmin(fmax(u - change, 0), pow(0.5, a)), 1 / a);
        if (fabs(next - x) <= x * DBL_EPSILON)
            return next;
        x = next;
    }
    return x;
}
