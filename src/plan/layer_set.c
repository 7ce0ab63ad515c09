// Sets of layers: see layer_set.h.
#include "plan/layer_set.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void layer_set_add(struct layer_set *s, int lo, int hi)
{
    CHECK(lo >= 0 && lo <= hi && hi <= PLAN_MAX_LAYERS);
    for (int i = lo; i < hi; i++)
        s->bits[i / 8] |= (uint8_t)(1u << i % 8);
}

bool layer_set_has(const struct layer_set *s, int layer)
{
    return s->bits[layer / 8] >> layer % 8 & 1;
}

bool layer_set_covers(const struct layer_set *s, const struct layer_set *needed)
{
    for (size_t i = 0; i < sizeof s->bits; i++)
        if (needed->bits[i] & ~s->bits[i])
            return false;
    return true;
}

struct layer_set layer_set_of_node(const struct window_table *t, int node)
{
    struct layer_set s = {{0}};
    for (int r = 0; r < t->n_rounds; r++)
        layer_set_add(&s, t->lo[r][node], t->hi[r][node]);
    return s;
}

void layer_set_text(const struct layer_set *s, char out[LAYER_SET_TEXT])
{
    size_t n = 0;
    snprintf(out, LAYER_SET_TEXT, "none");
    for (int lo = 0, hi; lo < PLAN_MAX_LAYERS; lo = hi + 1) {
        char part[32];
        for (hi = lo; hi < PLAN_MAX_LAYERS && layer_set_has(s, hi); hi++)
            ;
        if (hi == lo)
            continue;
        snprintf(part, sizeof part, hi == lo + 1 ? "%s%d" : "%s%d-%d", n ? ", " : "", lo, hi - 1);
        if (n + strlen(part) + sizeof ", ..." > LAYER_SET_TEXT) {
            snprintf(out + n, LAYER_SET_TEXT - n, ", ...");
            return;
        }
        n += (size_t)snprintf(out + n, LAYER_SET_TEXT - n, "%s", part);
    }
}

static int refuse(const char *text, int n_layers, struct err *e)
{
    return err_set(e, ERR_USAGE,
                   "layers are given as the first and the last, as in 8-15 or 0-3,16-19; this "
                   "model has layers 0 to %d; '%s' is something else",
                   n_layers - 1, text);
}

int layer_set_parse(struct layer_set *s, const char *text, int n_layers, struct err *e)
{
    const char *at = text;
    *s = (struct layer_set){{0}};
    for (;;) {
        char *end;
        long lo = strtol(at, &end, 10), hi = lo;
        if (end == at)
            return refuse(text, n_layers, e);
        if (*end == '-') {
            at = end + 1;
            hi = strtol(at, &end, 10);
            if (end == at)
                return refuse(text, n_layers, e);
        }
        if (lo < 0 || hi < lo || hi >= n_layers || (*end && *end != ','))
            return refuse(text, n_layers, e);
        layer_set_add(s, (int)lo, (int)hi + 1);
        if (!*end)
            return 0;
        at = end + 1;
    }
}
