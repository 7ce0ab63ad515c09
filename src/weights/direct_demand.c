// Pieces that come when they are asked for: experts, once the router has spoken. See direct.h.
#include "weights/direct_state.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    LEAST_SLOTS = 8, // a token's experts of one matrix, of most models
    HELD_SHARE = 4,  // that part of the slots may be held at a time: the others are read meanwhile
};

size_t demand_slot_bytes(const struct direct_options *o)
{
    size_t most = 0;
    for (size_t i = 0; i < o->n_demand; i++) {
        struct part p = direct_lies(o, o->demand[i]);
        size_t bytes = expert_cache_slot_bytes(p.offset, p.file_bytes);
        most = bytes > most ? bytes : most;
    }
    return most;
}

size_t demand_least_slots(const struct direct_options *o)
{
    return o->n_demand < LEAST_SLOTS ? o->n_demand : LEAST_SLOTS;
}

static int list_demand(struct direct *d, const struct direct_options *o, struct err *e)
{
    d->demanded = calloc(d->n_pieces + 1, sizeof *d->demanded);
    d->demand = calloc(o->n_demand + 1, sizeof *d->demand);
    if (!d->demanded || !d->demand)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of experts");
    d->n_demand = o->n_demand;
    for (size_t i = 0; i < o->n_demand; i++) {
        struct part p = direct_lies(o, o->demand[i]);
        d->demand_bytes += p.file_bytes;
        d->demanded[o->demand[i]] = (uint32_t)i + 1;
        d->demand[i] = (struct demanded){.place = {.group = o->groups[i],
                                                   .file = p.file,
                                                   .offset = p.offset,
                                                   .size = p.file_bytes},
                                         .layout = p.file_layout};
    }
    return 0;
}

int demand_open(struct direct *d, const struct direct_options *o, struct err *e)
{
    int rc = list_demand(d, o, e), n_groups = 0;
    if (rc || !o->n_demand)
        return rc;
    for (size_t i = 0; i < o->n_demand; i++)
        n_groups = o->groups[i] >= n_groups ? o->groups[i] + 1 : n_groups;
    d->slots = direct_reserve(d->n_slots * d->expert_bytes);
    if (!d->slots)
        return err_set(e, ERR_NO_MEMORY, "the system refuses %.1f MiB for experts",
                       (double)(d->n_slots * d->expert_bytes) / (1 << 20));
    madvise(d->slots, d->n_slots * d->expert_bytes, MADV_HUGEPAGE); // reads are faster: a hint
    size_t held = d->n_slots / HELD_SHARE, least = demand_least_slots(o);
    d->least_slots = (int)(held > least ? held : least);
    struct expert_cache_options c = {
        .reader = d->reader,
        .memory = d->slots,
        .slot_bytes = d->expert_bytes,
        .locked = d->locked && !mlock2(d->slots, d->n_slots * d->expert_bytes, MLOCK_ONFAULT),
        .n_slots = (int)d->n_slots,
        .least = d->least_slots,
        .n_groups = n_groups,
        .n_pieces = d->n_pieces,
        .paths = d->paths};
    return expert_cache_new(&d->cache, &c, e);
}

void demand_close(struct direct *d)
{
    expert_cache_free(d->cache);
    if (d->slots)
        munmap(d->slots, d->n_slots * d->expert_bytes);
    free(d->demanded);
    free(d->demand);
}
