// Summing up a model file: see inventory.h.
#include "app/inventory.h"

#include <stdlib.h>
#include <string.h>

int inventory_layer(const struct gguf_tensor *t, const char **rest)
{
    const char *name = t->name.text, *digits = name + 4;
    char *end;
    if (strncmp(name, "blk.", 4) || *digits < '0' || *digits > '9')
        return -1;
    unsigned long layer = strtoul(digits, &end, 10);
    if (*end != '.' || layer >= MODEL_MAX_LAYERS)
        return -1;
    if (rest)
        *rest = end + 1;
    return (int)layer;
}

static void add(struct inventory_part *p, const struct gguf_tensor *t)
{
    // No overflow: the file has these bytes, and a byte holds eight weights at most.
    p->bytes += t->size;
    p->parameters += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    p->type_bytes[t->type] += t->size;
}

int inventory_take(struct inventory *v, const struct gguf *g, struct err *e)
{
    *v = (struct inventory){.layers = calloc(MODEL_MAX_LAYERS, sizeof *v->layers)};
    if (!v->layers)
        return err_set(e, ERR_NO_MEMORY, "no memory to sum up the model");
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        int layer = inventory_layer(t, NULL);
        add(&v->whole, t);
        if (layer >= 0)
            add(&v->layers[layer], t);
        else
            add(strncmp(t->name.text, "token_embd.", 11) ? &v->back : &v->front, t);
        if (layer >= v->n_layers)
            v->n_layers = layer + 1;
    }
    return 0;
}

void inventory_free(struct inventory *v)
{
    free(v->layers);
}

int inventory_types(const struct inventory_part *p, uint32_t *types)
{
    int n = 0;
    for (uint32_t type = 0; type < WT_COUNT; type++) {
        if (!p->type_bytes[type])
            continue;
        int at = n++;
        for (; at && p->type_bytes[types[at - 1]] < p->type_bytes[type]; at--)
            types[at] = types[at - 1];
        types[at] = type;
    }
    return n;
}
