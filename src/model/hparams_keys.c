// Keys of an architecture, typed and in range: see hparams_keys.h.
#include "model/hparams_keys.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum { NAME_SIZE = 96 };

static bool find(const struct keys *k, char name[NAME_SIZE], const char *key)
{
    snprintf(name, NAME_SIZE, "%s.%s", k->arch, key);
    return gguf_find(k->g, name) != NULL;
}

static void missing(struct keys *k, const char *name)
{
    k->rc =
        err_set(k->e, ERR_FAILED, "%s: the key %s is missing; the file is damaged or no %s model",
                k->path, name, k->arch);
}

int keys_int(struct keys *k, const char *key, int lo, int hi, int otherwise)
{
    char name[NAME_SIZE];
    uint64_t value;
    if (k->rc)
        return otherwise;
    if (!find(k, name, key)) {
        if (otherwise == KEYS_REQUIRED)
            missing(k, name);
        return otherwise;
    }
    if (gguf_get_u64(k->g, name, &value) && value >= (uint64_t)lo && value <= (uint64_t)hi)
        return (int)value;
    k->rc = err_set(k->e, ERR_FAILED,
                    "%s: %s is not a number from %d to %d; the file is damaged or of a kind that "
                    "Rondo cannot run",
                    k->path, name, lo, hi);
    return otherwise;
}

double keys_positive(struct keys *k, const char *key, double hi, double otherwise)
{
    char name[NAME_SIZE];
    double value;
    if (k->rc)
        return otherwise;
    if (!find(k, name, key)) {
        if (isnan(otherwise))
            missing(k, name);
        return otherwise;
    }
    if (gguf_get_f64(k->g, name, &value) && value > 0 && value <= hi)
        return value;
    k->rc =
        err_set(k->e, ERR_FAILED, "%s: %s is not a positive number up to %g; the file is damaged",
                k->path, name, hi);
    return otherwise;
}

bool keys_flag(struct keys *k, const char *key, bool otherwise)
{
    char name[NAME_SIZE];
    bool value = otherwise;
    if (k->rc || !find(k, name, key))
        return otherwise;
    if (!gguf_get_bool(k->g, name, &value))
        k->rc = err_set(k->e, ERR_FAILED, "%s: %s is neither true nor false; the file is damaged",
                        k->path, name);
    return value;
}

bool keys_has(const struct keys *k, const char *key)
{
    char name[NAME_SIZE];
    return find(k, name, key);
}

void keys_text(struct keys *k, const char *key, const char *otherwise, char *out, int size)
{
    char name[NAME_SIZE];
    struct gguf_string s;
    snprintf(out, (size_t)size, "%s", otherwise);
    if (!k->rc && find(k, name, key) && gguf_get_string(k->g, name, &s))
        err_quote(out, size, s.text, s.length < 1024 ? (int)s.length : 1024);
}
