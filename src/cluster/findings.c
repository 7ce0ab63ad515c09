// Figures that are kept from start to start: see findings.h.
#include "cluster/findings.h"

#include "base/digest.h"
#include "base/log.h"
#include "cluster/identity.h"
#include "plan/json_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, FILE_MAX = 1 << 18 };

static const double most = 1e15; // of a number that can be meant

void findings_key(uint8_t out[FINDINGS_KEY], const void *data, size_t size)
{
    struct digest d = digest_of(data, size);
    memcpy(out, d.bytes, FINDINGS_KEY);
}

static struct finding *find(const struct findings *f, const uint8_t key[FINDINGS_KEY])
{
    for (int i = 0; i < f->n; i++)
        if (!memcmp(f->list[i].key, key, FINDINGS_KEY))
            return (struct finding *)&f->list[i];
    return NULL;
}

const struct finding *findings_find(const struct findings *f, const uint8_t key[FINDINGS_KEY],
                                    int64_t now_s)
{
    const struct finding *x = find(f, key);
    return x && now_s >= x->at_s && now_s - x->at_s < FINDINGS_VALID_S ? x : NULL;
}

void findings_put(struct findings *f, const uint8_t key[FINDINGS_KEY], double a, double b,
                  int64_t now_s)
{
    struct finding *x = find(f, key);
    if (!x && f->n < FINDINGS_MAX)
        x = &f->list[f->n++];
    for (int i = 0; !x && i < f->n; i++)
        if (i == 0 || f->list[i].at_s < f->list[0].at_s) {
            struct finding first = f->list[0];
            f->list[0] = f->list[i];
            f->list[i] = first;
        }
    x = x ? x : &f->list[0]; // the oldest
    memcpy(x->key, key, FINDINGS_KEY);
    x->a = a;
    x->b = b;
    x->at_s = now_s;
    f->changed = true;
}

// ---- the file ----------------------------------------------------------------------------------

static bool key_from(const char *text, uint8_t key[FINDINGS_KEY])
{
    if (!text || strlen(text) != (size_t)2 * FINDINGS_KEY)
        return false;
    for (int i = 0; i < FINDINGS_KEY; i++) {
        unsigned byte;
        if (strspn(text, "0123456789abcdef") != (size_t)2 * FINDINGS_KEY ||
            sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        key[i] = (uint8_t)byte;
    }
    return true;
}

int findings_parse(struct findings *f, const char *text, size_t size, struct err *e)
{
    static const char *const names[] = {"version", "found", NULL};
    static const char *const parts[] = {"key", "a", "b", "at_s", NULL};
    json_t *json;
    memset(f, 0, sizeof *f);
    int rc = fields_parse(&json, text, size, "findings.json", e);
    if (rc)
        return rc;
    struct fields root = {.file = "findings.json", .json = json, .e = e};
    fields_object(&root, names);
    fields_int(&root, "version", VERSION, VERSION);
    struct fields found = fields_in(&root, "found");
    size_t n = fields_list(&found, FINDINGS_MAX);
    for (size_t i = 0; i < n && !e->code; i++) {
        struct finding *x = &f->list[f->n++];
        struct fields one = fields_at(&found, i);
        fields_object(&one, parts);
        if (!key_from(fields_text(&one, "key", 2 * FINDINGS_KEY + 1), x->key))
            fields_refuse(&one, "its key is none");
        x->a = fields_number(&one, "a", 0, most);
        x->b = fields_number(&one, "b", 0, most);
        x->at_s = (int64_t)fields_number(&one, "at_s", 0, most);
    }
    json_decref(json);
    if (e->code)
        f->n = 0;
    return e->code;
}

static bool path_of(char out[IDENTITY_PATH], const char *folder)
{
    int n = snprintf(out, IDENTITY_PATH, "%s/findings.json", folder);
    return n > 0 && n < IDENTITY_PATH;
}

void findings_load(struct findings *f, const char *folder)
{
    char path[IDENTITY_PATH], *text = malloc(FILE_MAX);
    struct err e = {0};
    size_t size;
    memset(f, 0, sizeof *f);
    if (text && path_of(path, folder) && !identity_read_private(path, text, FILE_MAX, &size, &e))
        findings_parse(f, text, size, &e);
    free(text);
    if (e.code)
        log_info("ways between nodes are measured again: %s", e.text);
}

static json_t *to_json(const struct findings *f)
{
    json_t *found = json_array();
    for (int i = 0; i < f->n; i++) {
        const struct finding *x = &f->list[i];
        char key[2 * FINDINGS_KEY + 1];
        for (int k = 0; k < FINDINGS_KEY; k++)
            snprintf(key + 2 * k, 3, "%02x", x->key[k]);
        json_array_append_new(found, json_pack("{s:s, s:f, s:f, s:I}", "key", key, "a", x->a, "b",
                                               x->b, "at_s", (json_int_t)x->at_s));
    }
    return json_pack("{s:i, s:o}", "version", VERSION, "found", found);
}

void findings_store(struct findings *f, const char *folder)
{
    char path[IDENTITY_PATH];
    struct err e = {0};
    if (!f->changed || !path_of(path, folder))
        return;
    f->changed = false;
    json_t *json = to_json(f);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text && strlen(text) < FILE_MAX &&
        identity_write_private(path, text, strlen(text), true, &e))
        log_info("what was measured between nodes is not remembered: %s", e.text);
    free(text);
    json_decref(json);
}
