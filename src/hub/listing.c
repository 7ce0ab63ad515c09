// The files of a repository: see listing.h.
#include "hub/listing.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_path(const void *x, const void *y)
{
    return strcmp(((const struct hub_file *)x)->path, ((const struct hub_file *)y)->path);
}

static int add_file(struct listing *l, const json_t *j, struct err *e)
{
    const char *path = json_string_value(json_object_get(j, "path"));
    const json_t *lfs = json_object_get(j, "lfs");
    const char *digest = json_string_value(json_object_get(lfs, "oid"));
    const json_t *size = json_object_get(lfs ? lfs : j, "size");
    if (!path || strlen(path) >= NAME_FILE_BYTES || !quant_is_model(path) ||
        !model_name_path_ok(path) || json_integer_value(size) <= 0)
        return 0;
    if (l->n == LISTING_MAX_FILES)
        return err_set(e, ERR_FAILED, "the hub lists more than %d files; that is no model",
                       LISTING_MAX_FILES);
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        struct hub_file *grown = realloc(l->files, capacity * sizeof *grown);
        if (!grown)
            return err_set(e, ERR_NO_MEMORY, "no memory for the hub's list of files");
        l->files = grown;
        l->capacity = capacity;
    }
    struct hub_file *f = &l->files[l->n++];
    *f = (struct hub_file){.size = (uint64_t)json_integer_value(size)};
    memcpy(f->path, path, strlen(path) + 1);
    f->has_digest = digest && http_head_hex(digest, strlen(digest), &f->digest);
    return 0;
}

int listing_add(struct listing *l, const char *json, size_t size, struct err *e)
{
    json_t *list = size <= LISTING_PAGE_BYTES ? json_loadb(json, size, 0, NULL) : NULL;
    int rc = json_is_array(list) ? 0
                                 : err_set(e, ERR_FAILED,
                                           "what the hub sends is not its list of files; is there "
                                           "a portal or a proxy in between?");
    for (size_t i = 0; !rc && i < json_array_size(list); i++)
        rc = add_file(l, json_array_get(list, i), e);
    json_decref(list);
    if (!rc && l->n)
        qsort(l->files, l->n, sizeof *l->files, by_path);
    return rc;
}

int listing_fetch(struct listing *l, const struct request_how *how, const char *endpoint,
                  const struct model_name *n, struct err *e)
{
    char url[HEAD_URL_BYTES], next[HEAD_URL_BYTES];
    int rc = 0;
    snprintf(url, sizeof url, "%s/api/models/%s/%s/tree/main?recursive=1", endpoint, n->owner,
             n->repo);
    for (int page = 0; !rc && url[0]; page++) {
        char *text = NULL;
        size_t size;
        if (page == LISTING_MAX_PAGES)
            return err_set(e, ERR_FAILED, "the hub's list of files has no end");
        rc = request_text(how, url, LISTING_PAGE_BYTES, &text, &size, next, e);
        if (!rc)
            rc = listing_add(l, text, size, e);
        free(text);
        if (!rc && next[0] && strncmp(next, endpoint, strlen(endpoint)))
            next[0] = 0; // the rest is somewhere else: not where the user sent us
        memcpy(url, next, sizeof url);
    }
    return rc;
}

void listing_free(struct listing *l)
{
    free(l->files);
    *l = (struct listing){0};
}

// Whether files[i] begins a model all of whose parts are listed: their number, else 0.
static int parts_from(const struct listing *l, size_t i)
{
    size_t stem, other;
    int no, of, no2, of2;
    if (!model_name_split(l->files[i].path, &stem, &no, &of))
        return 1;
    if (no != 1 || (size_t)of > l->n - i)
        return 0;
    for (int k = 1; k < of; k++) {
        const char *path = l->files[i + (size_t)k].path;
        if (!model_name_split(path, &other, &no2, &of2) || other != stem || no2 != k + 1 ||
            of2 != of || strncmp(path, l->files[i].path, stem))
            return 0;
    }
    return of;
}

int listing_choose(const struct listing *l, const struct model_name *n, int *n_files, char *why,
                   size_t why_size, struct err *e)
{
    const char **names = malloc((l->n + 1) * sizeof *names);
    size_t *index = malloc((l->n + 1) * sizeof *index), count = 0;
    int chosen = names && index ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for a list of files");
    struct model_name wanted = *n;
    size_t stem;
    int no, of;
    if (n->file[0] && model_name_split(n->file, &stem, &no, &of)) // any part means all of them
        snprintf(wanted.file + stem, sizeof wanted.file - stem, "-00001-of-%05d.gguf", of);
    for (size_t i = 0; !chosen && i < l->n; i++) {
        if (parts_from(l, i)) {
            names[count] = l->files[i].path;
            index[count++] = i;
        }
    }
    if (!chosen)
        chosen = quant_choose(names, count, &wanted, why, why_size, e);
    if (chosen >= 0) {
        chosen = (int)index[chosen];
        *n_files = parts_from(l, (size_t)chosen);
    }
    free(names);
    free(index);
    return chosen;
}
