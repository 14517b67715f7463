/* ays.c - the schedules of "Align Your Steps" (Sabour et al. 2024, arXiv 2404.14507), which were
 * optimised for 10 steps of a model, under diffusers' names of its AysSchedules. */
#include "scheduler/scheduler.h"

#include <string.h>

static const struct {
    const char *name;
    int count;
    float values[11];
} lists[] = {
    { "StableDiffusionTimesteps", 10, { 999, 850, 736, 645, 545, 455, 343, 233, 124, 24 } },
    { "StableDiffusionSigmas",
      11,
      { 14.615f, 6.475f, 3.861f, 2.697f, 1.886f, 1.396f, 0.963f, 0.652f, 0.399f, 0.152f, 0 } },
    { "StableDiffusionXLTimesteps", 10, { 999, 845, 730, 587, 443, 310, 193, 116, 53, 13 } },
    { "StableDiffusionXLSigmas",
      11,
      { 14.615f, 6.315f, 3.771f, 2.181f, 1.342f, 0.862f, 0.555f, 0.380f, 0.234f, 0.113f, 0 } },
    { "StableDiffusionVideoSigmas",
      11,
      { 700, 54.5f, 15.886f, 7.977f, 4.248f, 1.789f, 0.981f, 0.403f, 0.173f, 0.034f, 0 } },
};

const float *dfx_scheduler_ays(const char *name, int *count)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(lists[i].name, name) == 0) {
            *count = lists[i].count;
            return lists[i].values;
        }
    return NULL;
}
