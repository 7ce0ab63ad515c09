// rondo show --json: everything about a model file for programs.
#include "app/printable.h"
#include "app/show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *json_text(struct gguf_string s)
{
    size_t length = 0;
    char *text = printable_utf8(s.text, s.length, &length);
    json_t *json = text ? json_stringn(text, length) : NULL;
    free(text);
    return json;
}

static json_t *json_element(const struct gguf_key *k, uint64_t i)
{
    enum gguf_type type = k->type == GGUF_ARRAY ? k->element : k->type;
    int64_t integer;
    double number;
    switch (type) {
    case GGUF_STRING:
        return json_text(gguf_string_at(k, i));
    case GGUF_BOOL:
        return json_boolean(k->data[i]);
    case GGUF_F32:
    case GGUF_F64:
        // JSON has neither infinities nor NaNs.
        return gguf_float_at(k, i, &number) && isfinite(number) ? json_real(number) : json_null();
    default:
        return gguf_int_at(k, i, &integer) ? json_integer(integer) : json_null();
    }
}

static json_t *json_elements(const struct gguf_key *k, uint64_t n)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < n; i++)
        json_array_append_new(list, json_element(k, i));
    return list;
}

// A long array is told as {"count": N, "first": [...]}.
static json_t *json_value(const struct gguf_key *k, bool full)
{
    if (k->type != GGUF_ARRAY)
        return json_element(k, 0);
    if (full || k->count <= SHOW_ELEMENTS)
        return json_elements(k, k->count);
    return json_pack("{sI so}", "count", (json_int_t)k->count, "first",
                     json_elements(k, SHOW_ELEMENTS));
}

static json_t *json_keys(const struct gguf *g, bool full)
{
    json_t *keys = json_object();
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = gguf_key_at(g, i);
        size_t length = 0;
        char *name = printable_utf8(k->name.text, k->name.length, &length);
        if (name)
            name[length] = 0;
        json_object_set_new(keys, name, json_value(k, full));
        free(name);
    }
    return keys;
}

static json_t *json_part(const struct inventory_part *p)
{
    uint32_t types[WT_COUNT];
    json_t *by_type = json_object();
    int n = inventory_types(p, types);
    for (int i = 0; i < n; i++)
        json_object_set_new(by_type, wtype_info(types[i])->name,
                            json_integer((json_int_t)p->type_bytes[types[i]]));
    return json_pack("{sI sI so}", "bytes", (json_int_t)p->bytes, "parameters",
                     (json_int_t)p->parameters, "types", by_type);
}

static json_t *json_tensors(const struct gguf *g, const struct foresight *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        json_t *shape = json_array();
        for (int d = 0; d < t->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)t->dims[d]));
        json_t *tensor =
            json_pack("{so ss so sI si sI}", "name", json_text(t->name), "type",
                      wtype_info(t->type)->name, "shape", shape, "bytes", (json_int_t)t->size,
                      "part", t->part, "offset", (json_int_t)t->offset);
        if (f->known && f->places[i] != PLACE_UNUSED)
            json_object_set_new(tensor, "layout", json_string(foresight_name(f->places[i])));
        json_array_append_new(list, tensor);
    }
    return list;
}

static json_t *json_files(const struct gguf *g)
{
    json_t *list = json_array();
    for (int i = 0; i < gguf_n_parts(g); i++) {
        const char *path = gguf_part_path(g, i);
        struct gguf_string text = {.text = path, .length = strlen(path)};
        json_array_append_new(list, json_pack("{so sI}", "path", json_text(text), "bytes",
                                              (json_int_t)gguf_part_size(g, i)));
    }
    return list;
}

static json_t *json_share(const struct weights_share *s)
{
    return json_pack("{si sI}", "matrices", s->matrices, "bytes", (json_int_t)s->bytes);
}

static json_t *json_foresight(const struct foresight *f)
{
    if (!f->known)
        return json_null();
    return json_pack(
        "{ss so so so sb sI sI}", "isa", f->isa, "rows", json_share(&f->report.rows), "lanes",
        json_share(&f->report.lanes), "sidecar", json_share(&f->report.sidecar), "short_of_memory",
        (int)f->report.short_of_memory, "resident_bytes", (json_int_t)f->report.resident,
        "streamed_bytes", (json_int_t)f->report.streamed);
}

json_t *show_json(const struct gguf *g, const struct inventory *v, const struct foresight *f,
                  bool full)
{
    json_t *layers = json_array();
    for (int i = 0; i < v->n_layers; i++)
        json_array_append_new(layers, json_part(&v->layers[i]));
    return json_pack("{so si so so so so so so so}", "files", json_files(g), "version",
                     gguf_version(g), "weights", json_part(&v->whole), "embedding",
                     json_part(&v->front), "layers", layers, "output", json_part(&v->back),
                     "layout", json_foresight(f), "metadata", json_keys(g, full), "tensors",
                     json_tensors(g, f));
}
