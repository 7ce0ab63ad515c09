// Typed reads of keys: conversions that lose nothing, or no value at all.
#include "base/bytes.h"
#include "base/check.h"
#include "gguf/gguf.h"
#include "gguf/header.h"

// Element `data` of integer type `type`, as a 64-bit pattern and whether it is below zero.
static bool load_integer(enum gguf_type type, const uint8_t *data, uint64_t *bits, bool *negative)
{
    int64_t s;
    switch (type) {
    case GGUF_U8:
        s = data[0];
        break;
    case GGUF_I8:
        s = (int8_t)data[0];
        break;
    case GGUF_U16:
        s = load_u16(data);
        break;
    case GGUF_I16:
        s = (int16_t)load_u16(data);
        break;
    case GGUF_U32:
        s = load_u32(data);
        break;
    case GGUF_I32:
        s = (int32_t)load_u32(data);
        break;
    case GGUF_I64:
        s = (int64_t)load_u64(data);
        break;
    case GGUF_U64:
        *bits = load_u64(data);
        *negative = false;
        return true;
    default:
        return false;
    }
    *bits = (uint64_t)s;
    *negative = s < 0;
    return true;
}

static bool load_i64(enum gguf_type type, const uint8_t *data, int64_t *out)
{
    uint64_t bits;
    bool negative;
    if (!load_integer(type, data, &bits, &negative) || (!negative && bits > INT64_MAX))
        return false;
    *out = (int64_t)bits;
    return true;
}

static bool load_f64(enum gguf_type type, const uint8_t *data, double *out)
{
    if (type == GGUF_F32) {
        uint32_t bits = load_u32(data);
        float f;
        memcpy(&f, &bits, sizeof f);
        *out = (double)f;
        return true;
    }
    if (type == GGUF_F64) {
        memcpy(out, data, sizeof *out);
        return true;
    }
    int64_t i;
    if (!load_i64(type, data, &i) || i > (int64_t)1 << 53 || i < -((int64_t)1 << 53))
        return false;
    *out = (double)i;
    return true;
}

bool key_u64(const struct gguf_key *k, uint64_t *out)
{
    uint64_t bits;
    bool negative;
    if (!load_integer(k->type, k->data, &bits, &negative) || negative)
        return false;
    *out = bits;
    return true;
}

bool gguf_get_u64(const struct gguf *g, const char *name, uint64_t *out)
{
    const struct gguf_key *k = gguf_find(g, name);
    return k && key_u64(k, out);
}

bool gguf_get_i64(const struct gguf *g, const char *name, int64_t *out)
{
    const struct gguf_key *k = gguf_find(g, name);
    return k && load_i64(k->type, k->data, out);
}

bool gguf_get_f64(const struct gguf *g, const char *name, double *out)
{
    const struct gguf_key *k = gguf_find(g, name);
    return k && load_f64(k->type, k->data, out);
}

bool gguf_get_bool(const struct gguf *g, const char *name, bool *out)
{
    const struct gguf_key *k = gguf_find(g, name);
    if (!k || k->type != GGUF_BOOL || k->data[0] > 1)
        return false;
    *out = k->data[0];
    return true;
}

static struct gguf_string load_string(const uint8_t *data)
{
    return (struct gguf_string){.text = (const char *)data + 8, .length = (size_t)load_u64(data)};
}

bool gguf_get_string(const struct gguf *g, const char *name, struct gguf_string *out)
{
    const struct gguf_key *k = gguf_find(g, name);
    if (!k || k->type != GGUF_STRING)
        return false;
    *out = load_string(k->data);
    return true;
}

struct gguf_string gguf_string_at(const struct gguf_key *k, uint64_t i)
{
    CHECK(i < k->count);
    if (k->type == GGUF_STRING)
        return load_string(k->data);
    CHECK(k->type == GGUF_ARRAY && k->element == GGUF_STRING);
    return load_string(k->data + k->string_at[i]);
}

static enum gguf_type element_type(const struct gguf_key *k)
{
    return k->type == GGUF_ARRAY ? k->element : k->type;
}

bool gguf_int_at(const struct gguf_key *k, uint64_t i, int64_t *out)
{
    CHECK(i < k->count);
    enum gguf_type type = element_type(k);
    return load_i64(type, k->data + i * key_type_size(type), out);
}

bool gguf_float_at(const struct gguf_key *k, uint64_t i, double *out)
{
    CHECK(i < k->count);
    enum gguf_type type = element_type(k);
    return load_f64(type, k->data + i * key_type_size(type), out);
}
