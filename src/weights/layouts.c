// The decision between rows and lanes: see layouts.h.
#include "weights/layouts.h"

// Bytes of the layer that begins at item i, and where the next one begins.
static uint64_t layer_bytes(const struct layout_item *items, size_t n, size_t i, size_t *next)
{
    uint64_t bytes = 0;
    size_t k = i;
    for (; k < n && items[k].layer == items[i].layer; k++)
        bytes += items[k].can ? items[k].bytes : 0;
    *next = k;
    return bytes;
}

uint64_t layouts_choose(enum layout *out, const struct layout_item *items, size_t n,
                        enum weights_form form, uint64_t budget)
{
    uint64_t taken = 0;
    bool fits = form != WEIGHTS_ROWS;
    for (size_t i = 0, next; i < n; i = next) {
        uint64_t bytes = layer_bytes(items, n, i, &next);
        if (form == WEIGHTS_AUTO && bytes > budget - taken)
            fits = false;
        for (size_t k = i; k < next; k++)
            out[k] = fits && items[k].can ? LAYOUT_LANES : LAYOUT_ROWS;
        taken += fits ? bytes : 0;
    }
    return taken;
}
