/* plan.c - memory planned from lifetimes: greedy by size, the lowest gap that is free (Pisarchyk &
 * Lee 2020). */
#include "sequence/sequence.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const dfx__plan_item *x = *(dfx__plan_item *const *)a, *y = *(dfx__plan_item *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first)
        return x->first - y->first;
    return x < y ? -1 : x > y; /* the same plan on every run */
}

/* The items already placed in an arena that live at the same time, sorted by offset. */
static int by_offset(const void *a, const void *b)
{
    const dfx__plan_item *x = *(dfx__plan_item *const *)a, *y = *(dfx__plan_item *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The lowest offset at which the item fits between its contemporaries in the arena. */
static size_t find_gap(const dfx__plan_item *item, dfx__plan_item **placed, int count, int arena,
                       dfx__plan_item **room)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        if (placed[i]->arena == arena && placed[i]->first <= item->last &&
            item->first <= placed[i]->last)
            room[n++] = placed[i];
    qsort(room, (size_t)n, sizeof *room, by_offset);
    size_t offset = 0;
    for (int i = 0; i < n; i++) {
        if (room[i]->offset >= offset && room[i]->offset - offset >= item->bytes)
            break;
        size_t end = room[i]->offset + room[i]->bytes;
        offset = end > offset ? end : offset;
    }
    return offset;
}

static int place_all(dfx__plan_item **order, int items, size_t largest, size_t *size,
                     int max_arenas, dfx__plan_item **room)
{
    int arenas = 0;
    for (int i = 0; i < items; i++) {
        dfx__plan_item *item = order[i];
        int a = 0;
        for (; a < arenas; a++) {
            item->offset = find_gap(item, order, i, a, room);
            if (item->offset + item->bytes <= largest)
                break;
        }
        if (a == arenas) {
            if (arenas == max_arenas)
                return -1;
            size[arenas++] = 0;
            item->offset = 0;
        }
        item->arena = a;
        if (item->offset + item->bytes > size[a])
            size[a] = item->offset + item->bytes;
    }
    return arenas;
}

int dfx__plan(dfx__plan_item *item, int items, size_t align, size_t largest, size_t *size,
              int max_arenas)
{
    dfx__plan_item **order = dfx__alloc((size_t)items, 2 * sizeof *order);
    if (!order)
        return -1;
    for (int i = 0; i < items; i++) {
        item[i].bytes = (item[i].bytes + align - 1) / align * align;
        order[i] = &item[i];
    }
    qsort(order, (size_t)items, sizeof *order, larger_first);
    int arenas = place_all(order, items, largest, size, max_arenas, order + items);
    free(order);
    return arenas;
}
