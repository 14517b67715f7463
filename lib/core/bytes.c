/* bytes.c - numbers of bytes as people write them. */
#include "core/status.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Digits with a point between them, whatever the locale says; moves *text behind them. */
static int read_number(const char **text, double *number)
{
    const char *t = *text;
    double place = 1;
    *number = 0;
    for (; isdigit((unsigned char)*t); t++)
        *number = *number * 10 + (*t - '0');
    if (t == *text)
        return 0;
    if (*t == '.' && isdigit((unsigned char)t[1]))
        for (t++; isdigit((unsigned char)*t); t++)
            *number += (*t - '0') * (place /= 10);
    *text = t;
    return 1;
}

dfx_status dfx_bytes_parse(uint64_t *out, const char *text)
{
    static const char units[] = "KMGT";
    const char *end = text;
    double number;
    int good = read_number(&end, &number);
    if (good && *end) {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        good = unit && (!end[1] || strcasecmp(end + 1, "B") == 0 || strcasecmp(end + 1, "iB") == 0);
        if (good)
            number = ldexp(number, 10 * (int)(unit - units + 1));
    }
    if (!good || number >= 0x1p63)
        return dfx__fail(DFX_ERROR_ARGUMENT, "\"%s\" is not a size; write 800M or 3.5G", text);
    *out = (uint64_t)number;
    return DFX_OK;
}

const char *dfx_bytes_text(char text[DFX_BYTES_TEXT], uint64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double size = (double)bytes;
    int unit = 0;
    for (; size >= 1024 && unit < 4; unit++)
        size /= 1024;
    snprintf(text, DFX_BYTES_TEXT, unit && size < 100 ? "%.1f %s" : "%.0f %s", size, units[unit]);
    return text;
}
