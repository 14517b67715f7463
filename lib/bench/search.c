/* search.c - candidates in an order that finds good ones soon, and what came of them. */
#include "bench/search.h"

#include "core/noise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = DFX__SPACE_PARAMETERS * 8, ATTEMPTS = 20000, MOST_TRIED = 4000 };

/* Better by less than this is noise. */
static const double margin = 0.98;

/* ---- what is known ---- */

static json_object *entry_of(const dfx__search *s)
{
    dfx__kept *store = dfx__tuning(s->device);
    return store ? dfx__json_get(dfx__kept_entries(store), s->space->kernel, json_type_object)
                 : NULL;
}

static json_object *tried_of(const dfx__search *s)
{
    return dfx__json_get(entry_of(s), "tried", json_type_object);
}

/* "0 32 32 ...", the values in the space's order. */
static void write_key(char key[KEY], const dfx__search *s, const int *value)
{
    size_t n = 0;
    for (int i = 0; i < dfx__space_parameters(s->space); i++)
        n += (size_t)snprintf(key + n, KEY - n, "%s%d", i ? " " : "", value[i]);
}

static int read_key(const dfx__search *s, const char *key, int *value)
{
    char *end;
    for (int i = 0; i < dfx__space_parameters(s->space); i++, key = end) {
        long v = strtol(key, &end, 10);
        value[i] = end > key && v >= 0 && v <= DFX__NEVER ? (int)v : -1;
    }
    return *key == '\0' && dfx__space_has(s->space, value, &s->device->info);
}

static int was_tried(const dfx__search *s, const int *value)
{
    char key[KEY];
    write_key(key, s, value);
    return json_object_object_get_ex(tried_of(s), key, NULL);
}

/* The best in the store, which may be another process's. */
static void look(dfx__search *s)
{
    json_object *entry = entry_of(s);
    double seconds = dfx__json_number(entry, "seconds");
    json_object *parameters = dfx__json_get(entry, "parameters", json_type_object);
    if (seconds > 0 && dfx__space_read(s->best, s->space, &s->device->info, parameters)) {
        s->has_best = 1;
        s->seconds = seconds;
    }
}

/* Writes the entry with one more candidate, null or its seconds. `wrong`: the entry's parameters
 * are. */
static void keep(dfx__search *s, const int *value, double seconds, int wrong)
{
    dfx__kept *store = dfx__tuning(s->device);
    char key[KEY];
    if (!store)
        return;
    json_object *entry = json_object_new_object(), *old = entry_of(s), *tried = tried_of(s);
    write_key(key, s, value);
    tried = tried ? json_object_get(tried) : json_object_new_object();
    dfx__json_put_seconds(tried, key, seconds);
    json_object *refused = dfx__json_get(old, wrong ? "parameters" : "wrong", json_type_object);
    if (refused)
        dfx__json_put(entry, "wrong", json_object_get(refused));
    if (s->has_best) {
        dfx__json_put(entry, "parameters", dfx__space_write(s->space, s->best));
        dfx__json_put_seconds(entry, "seconds", s->seconds);
    }
    dfx__json_put_seconds(entry, "before", s->before);
    dfx__json_put(entry, "tried", tried);
    dfx__kept_put(store, s->space->kernel, entry);
    dfx__kept_save(store);
    look(s);
}

void dfx__search_open(dfx__search *s, dfx_device *d, const dfx__space *space)
{
    *s = (dfx__search){ .device = d, .space = space };
    s->before = dfx__json_number(entry_of(s), "before");
    s->seconds = s->before;
    json_object *tried = tried_of(s);
    s->known = tried ? json_object_object_length(tried) : 0;
    look(s);
}

void dfx__search_start(dfx__search *s, double before, double seconds)
{
    s->before = before;
    s->seconds = s->has_best && isfinite(seconds) ? seconds : before;
    if (s->has_best && !isfinite(seconds)) {
        s->has_best = 0;
        keep(s, s->best, INFINITY, 1);
    }
}

void dfx__search_choose(dfx__search *s, const int *value, double before, double seconds)
{
    s->has_best = isfinite(seconds);
    s->before = before;
    s->seconds = seconds;
    memcpy(s->best, value, sizeof s->best);
    keep(s, value, seconds, 0);
}

void dfx__search_note(dfx__search *s, const int *value, double seconds)
{
    s->tried++;
    s->wrong += !isfinite(seconds);
    if (seconds < margin * s->seconds) {
        s->has_best = 1;
        s->seconds = seconds;
        memcpy(s->best, value, sizeof s->best);
    }
    keep(s, value, seconds, 0);
}

/* ---- candidates ---- */

static int is_new(const dfx__search *s, const int *value)
{
    return dfx__space_has(s->space, value, &s->device->info) && !was_tried(s, value);
}

/* The same of what is not known to be good anywhere. */
static int is_worth_it(const dfx__search *s, const int *value)
{
    int (*sums)(const int *) = s->space->sums;
    return is_new(s, value) && !(s->most_sums && sums && sums(value) > s->most_sums);
}

static int next_start(const dfx__search *s, int *value)
{
    memcpy(value, s->first, sizeof s->first);
    if (s->has_first && is_new(s, value))
        return 1;
    for (size_t i = 0; i < s->space->starts; i++) {
        memcpy(value, s->space->start[i], sizeof s->space->start[i]);
        if (is_new(s, value))
            return 1;
    }
    return 0;
}

/* The best, or while nothing beats CLBlast's own the fastest of what was tried. */
static int find_centre(const dfx__search *s, int *centre)
{
    int value[DFX__SPACE_PARAMETERS], found = s->has_best;
    json_object *tried = tried_of(s);
    double least = INFINITY;
    memcpy(centre, s->best, sizeof s->best);
    if (found || !tried)
        return found;
    json_object_object_foreach (tried, key, v) {
        double seconds = json_object_get_double(v);
        if (v && seconds > 0 && seconds < least && read_key(s, key, value)) {
            least = seconds;
            memcpy(centre, value, sizeof value);
            found = 1;
        }
    }
    return found;
}

static int values_of(const dfx__space *space, int parameter)
{
    int n = 0;
    while (space->parameter[parameter].value[n] >= 0)
        n++;
    return n;
}

static int index_of(const dfx__space *space, int parameter, int value)
{
    int i = 0;
    while (space->parameter[parameter].value[i] != value)
        i++;
    return i;
}

/* Changes a value by so many places of its list, and what has to follow; 0 where the list ends. */
static int move(const dfx__space *space, int *value, int parameter, int places)
{
    int i = index_of(space, parameter, value[parameter]) + places;
    if (i < 0 || i >= values_of(space, parameter))
        return 0;
    value[parameter] = space->parameter[parameter].value[i];
    if (space->repair)
        space->repair(value);
    return 1;
}

static int next_neighbour(const dfx__search *s, const int *centre, int *value)
{
    for (int step = 1; step < DFX__SPACE_VALUES; step++)
        for (int p = 0; p < dfx__space_parameters(s->space); p++)
            for (int sign = -1; sign <= 1; sign += 2) {
                memcpy(value, centre, DFX__SPACE_PARAMETERS * sizeof *value);
                if (move(s->space, value, p, sign * step) && is_worth_it(s, value))
                    return 1;
            }
    return 0;
}

static uint32_t next_random(uint32_t *seed)
{
    return dfx__noise_next(seed) >> 8;
}

/* Two or three values of the centre changed, or each fourth time all of them. The numbers depend on
 * how many were tried, so that no state has to be kept. */
static int next_random_values(const dfx__search *s, const int *centre, int *value)
{
    json_object *tried = tried_of(s);
    uint32_t seed = 2654435761u * (uint32_t)(tried ? json_object_object_length(tried) : 0);
    int n = dfx__space_parameters(s->space);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        int changes = attempt % 4 == 3 ? n : 2 + attempt % 2;
        memcpy(value, centre, DFX__SPACE_PARAMETERS * sizeof *value);
        for (int i = 0; i < changes; i++) {
            int p = changes == n ? i : (int)(next_random(&seed) % (uint32_t)n);
            int at = (int)(next_random(&seed) % (uint32_t)values_of(s->space, p));
            move(s->space, value, p, at - index_of(s->space, p, value[p]));
        }
        if (is_worth_it(s, value))
            return 1;
    }
    return 0;
}

int dfx__search_next(dfx__search *s, int *value)
{
    int centre[DFX__SPACE_PARAMETERS] = { 0 };
    json_object *tried = tried_of(s);
    if (tried && json_object_object_length(tried) >= MOST_TRIED)
        return 0;
    int known = find_centre(s, centre);
    int found = known && s->tried % 2 == 1 && next_neighbour(s, centre, value);
    if (!found && !next_start(s, value) &&
        (!known || (!next_neighbour(s, centre, value) && !next_random_values(s, centre, value))))
        return 0;
    keep(s, value, INFINITY, 0);
    return 1;
}
