/* stream.c - weights that do not fit on the device: they stay on the host, and groups of them move
 * into two slots of the device in turn. While the calls of a group compute, the next one moves.
 * Those of kept calls, which most runs do without, are the first choice, in groups of their own. */
#include "sequence/sequence.h"

#include <stdlib.h>

/* Weights that move together, and the calls that wait for them. */
typedef struct {
    int first_call;
    size_t bytes;
    dfx__buffer *host; /* packed, as the device copies it; NULL where it is packed on the way */
} group;

enum { SLOTS = 2 };

/* Groups are at least so large where there is room, or as a part of the room: small ones move no
 * faster than their calls wait. */
enum { GROUP_BYTES = 32 << 20, ROOM_PART = 8 };

/* Smaller weights stay: there are many, and together they take little. */
enum { LEAST_BYTES = 4 << 10 };

typedef struct dfx__stream {
    group *group;
    int groups, kept; /* in all, and of kept calls: they are the first ones */
    size_t slot_bytes;
    dfx__buffer *slot[SLOTS];
} stream;

void dfx__sequence_may_stream(dfx_sequence *s)
{
    s->may_stream = 1;
}

/* ---- planning ---- */

static int can_move(const dfx_sequence *s, const dfx__constant *c)
{
    return c->first == c->last && c->bytes >= LEAST_BYTES &&
           !dfx__weight_copy_exists(c->weight, s->device, c->format, c->dtype);
}

static int is_kept(const dfx_sequence *s, const dfx__constant *c)
{
    return c->last < s->kept_calls;
}

/* Bytes of the constants that can move: of kept calls, of others, of the largest. */
typedef struct {
    size_t kept, others, largest;
} sums;

static sums sum_up(const dfx_sequence *s)
{
    sums sum = { 0, 0, 0 };
    for (const dfx__constant *c = s->constant; c < s->constant + s->constants; c++) {
        if (!can_move(s, c))
            continue;
        *(is_kept(s, c) ? &sum.kept : &sum.others) += c->bytes;
        if (c->bytes > sum.largest)
            sum.largest = c->bytes;
    }
    return sum;
}

static size_t choose_slot(const dfx_sequence *s, const sums *sum, size_t room)
{
    size_t slot = room / ROOM_PART < GROUP_BYTES ? room / ROOM_PART : GROUP_BYTES;
    if (slot < sum->largest)
        slot = sum->largest;
    return dfx__align(s->device, slot);
}

static double part_of(size_t bytes, size_t all)
{
    return bytes < all ? (double)bytes / (double)all : all > 0;
}

/* Chooses constants of at least `bytes`: of kept calls, then of others, evenly among these, so that
 * what moves and what computes alternate; and puts them into groups of a slot's size. */
static void choose(dfx_sequence *s, stream *t, const sums *sum, size_t bytes)
{
    double owed = 0, kept = part_of(bytes, sum->kept);
    double others = part_of(bytes > sum->kept ? bytes - sum->kept : 0, sum->others);
    t->groups = t->kept = 0;
    for (dfx__constant *c = s->constant; c < s->constant + s->constants; c++) {
        if (!can_move(s, c))
            continue;
        owed += (is_kept(s, c) ? kept : others) * (double)c->bytes;
        if (!(owed > 0))
            continue;
        owed -= (double)c->bytes;
        group *g = t->groups ? &t->group[t->groups - 1] : NULL;
        int apart = t->groups == t->kept && !is_kept(s, c);
        if (!g || apart || g->bytes + c->bytes > t->slot_bytes) {
            g = &t->group[t->groups++];
            *g = (group){ c->first, 0, NULL };
        }
        c->group = t->groups - 1;
        c->place = (dfx__place){ NULL, g->bytes, c->bytes }; /* the slot is still to come */
        g->bytes += c->bytes;
        if (is_kept(s, c))
            t->kept = t->groups;
        else
            s->info.moved_bytes += c->bytes;
        s->info.streamed_bytes += c->bytes;
    }
}

dfx_status dfx__stream_plan(dfx_sequence *s, size_t missing, size_t room)
{
    sums sum = sum_up(s);
    size_t slot = choose_slot(s, &sum, room), needed = missing + SLOTS * slot;
    if (needed <= room || needed - room > sum.kept + sum.others)
        return dfx__fail(DFX_ERROR_MEMORY, "the weights are too large to be streamed");
    stream *t = calloc(1, sizeof *t);
    group *g = dfx__alloc((size_t)s->constants, sizeof *g);
    if (!t || !g) {
        free(t);
        free(g);
        return dfx__no_memory();
    }
    t->group = g;
    t->slot_bytes = slot;
    s->stream = t;
    choose(s, t, &sum, needed - room);
    return DFX_OK;
}

/* ---- preparing ---- */

/* Packs a group's weights one behind the other. */
static dfx_status pack_group(const dfx_sequence *s, int number, char *to)
{
    for (const dfx__constant *c = s->constant; c < s->constant + s->constants; c++)
        if (c->group == number)
            DFX__TRY(dfx__pack_once(to + c->place.offset, c->format, c->dtype, c->weight));
    return DFX_OK;
}

/* Where a group's weights wait on the host. The native CPU packs them from the model's file in each
 * run: packed copies would take the very memory that is short. */
static dfx_status make_host(dfx_sequence *s, int number)
{
    const dfx__device_class *class = s->device->class;
    group *g = &s->stream->group[number];
    if (s->device->rehearses || !class->host_allocate)
        return DFX_OK;
    if (dfx__interrupted())
        return dfx__fail(DFX_ERROR_INTERRUPTED, "interrupted");
    DFX__TRY(class->host_allocate(&g->host, s->device, g->bytes));
    return pack_group(s, number, g->host->host);
}

dfx_status dfx__stream_prepare(dfx_sequence *s)
{
    stream *t = s->stream;
    if (!t)
        return DFX_OK;
    for (int i = 0; i < SLOTS; i++)
        DFX__TRY(dfx__buffer_new(&t->slot[i], s->device, t->slot_bytes));
    for (dfx__constant *c = s->constant; c < s->constant + s->constants; c++)
        if (c->group >= 0)
            c->place.buffer = t->slot[c->group % SLOTS];
    for (int i = 0; i < t->groups; i++)
        DFX__TRY(make_host(s, i));
    return DFX_OK;
}

void dfx__stream_release(dfx_sequence *s)
{
    stream *t = s->stream;
    if (!t)
        return;
    for (int i = 0; i < t->groups; i++)
        if (t->group[i].host)
            s->device->class->release(t->group[i].host);
    for (int i = 0; i < SLOTS; i++)
        dfx__buffer_free(t->slot[i]);
    free(t->group);
    free(t);
    s->stream = NULL;
}

/* ---- running ---- */

static dfx_status move(dfx_sequence *s, int number)
{
    stream *t = s->stream;
    dfx__buffer *slot = t->slot[number % SLOTS];
    if (!s->device->class->fetch)
        return pack_group(s, number, slot->host);
    return s->device->class->fetch(slot, t->group[number].host, t->group[number].bytes);
}

/* The group whose first call is k; -1: none. */
static int group_at(const stream *t, int k)
{
    for (int i = 0; i < t->groups; i++)
        if (t->group[i].first_call == k)
            return i;
    return -1;
}

dfx_status dfx__stream_before(dfx_sequence *s, int k)
{
    const stream *t = s->stream;
    const dfx__device_class *class = s->device->class;
    int number = t ? group_at(t, k) : -1;
    if (number < 0)
        return DFX_OK;
    if (!class->fetch) /* nothing moves beside the work */
        return move(s, number);
    if (number == (s->stale ? 0 : t->kept)) /* the first one of this run */
        DFX__TRY(move(s, number));
    DFX__TRY(class->await_fetches(s->device));
    return number + 1 < t->groups ? move(s, number + 1) : DFX_OK;
}
