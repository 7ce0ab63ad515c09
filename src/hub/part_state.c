// The state of a download: see part_state.h.
#include "hub/part_state.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

bool ranges_add(struct ranges *r, uint64_t lo, uint64_t hi)
{
    int first = 0, last;
    if (lo >= hi)
        return true;
    while (first < r->n && r->at[first].hi < lo)
        first++;
    for (last = first; last < r->n && r->at[last].lo <= hi; last++) {
        lo = r->at[last].lo < lo ? r->at[last].lo : lo;
        hi = r->at[last].hi > hi ? r->at[last].hi : hi;
    }
    if (last == first && r->n == RANGES_MAX)
        return false;
    memmove(&r->at[first + 1], &r->at[last], (size_t)(r->n - last) * sizeof *r->at);
    r->at[first] = (struct range){lo, hi};
    r->n += 1 - (last - first);
    return true;
}

uint64_t ranges_bytes(const struct ranges *r)
{
    uint64_t n = 0;
    for (int i = 0; i < r->n; i++)
        n += r->at[i].hi - r->at[i].lo;
    return n;
}

bool ranges_gap(const struct ranges *r, uint64_t end, struct range *out)
{
    int next = r->n && r->at[0].lo == 0; // the range behind the gap
    uint64_t lo = next ? r->at[0].hi : 0;
    if (lo >= end)
        return false;
    *out = (struct range){lo, next < r->n && r->at[next].lo < end ? r->at[next].lo : end};
    return true;
}

void part_state_init(struct part_state *s)
{
    *s = (struct part_state){.size = HEAD_UNKNOWN};
}

static bool read_number(const json_t *j, uint64_t *out)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return false;
    *out = (uint64_t)json_integer_value(j);
    return true;
}

static bool read_ranges(struct part_state *s, const json_t *list)
{
    if (!json_is_array(list) || json_array_size(list) > RANGES_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        uint64_t lo, hi;
        if (json_array_size(pair) != 2 || !read_number(json_array_get(pair, 0), &lo) ||
            !read_number(json_array_get(pair, 1), &hi) || lo >= hi || hi > s->size)
            return false;
        ranges_add(&s->done, lo, hi);
    }
    return true;
}

static bool read_state(struct part_state *s, const json_t *j)
{
    uint64_t version;
    const char *etag = json_string_value(json_object_get(j, "etag"));
    const char *digest = json_string_value(json_object_get(j, "sha256"));
    if (!read_number(json_object_get(j, "rondo_part"), &version) || version != 1 ||
        !read_number(json_object_get(j, "size"), &s->size))
        return false;
    if (etag && strlen(etag) < sizeof s->etag)
        memcpy(s->etag, etag, strlen(etag) + 1);
    for (char *c = s->etag; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            return false; // it goes into a header
    s->has_digest = digest && http_head_hex(digest, strlen(digest), &s->digest);
    return read_ranges(s, json_object_get(j, "done"));
}

bool part_state_parse(struct part_state *s, const char *text, size_t size)
{
    part_state_init(s);
    json_t *j =
        size <= PART_STATE_BYTES ? json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool ok = j && read_state(s, j);
    json_decref(j);
    if (!ok)
        part_state_init(s);
    return ok;
}

char *part_state_text(const struct part_state *s)
{
    char digest[2 * DIGEST_BYTES + 1];
    json_t *done = json_array();
    for (int i = 0; i < s->done.n; i++)
        json_array_append_new(
            done, json_pack("[I, I]", (json_int_t)s->done.at[i].lo, (json_int_t)s->done.at[i].hi));
    json_t *j =
        json_pack("{s:i, s:I, s:o}", "rondo_part", 1, "size", (json_int_t)s->size, "done", done);
    if (s->etag[0])
        json_object_set_new(j, "etag", json_string(s->etag));
    if (s->has_digest) {
        digest_hex(&s->digest, digest);
        json_object_set_new(j, "sha256", json_string(digest));
    }
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}
