// The models on this machine: see stores.h.
#include "hub/stores.h"

#include "hub/http_head.h"
#include "hub/store_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *const names[STORE_COUNT] = {"Rondo", "Hugging Face", "llama.cpp", "LM Studio",
                                               "Ollama"};

const char *store_name(enum store store)
{
    return names[store];
}

int store_folder(char out[STORE_PATH_BYTES], struct err *e)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (cache && *cache == '/')
        n = snprintf(out, STORE_PATH_BYTES, "%s/rondo/models", cache);
    else if (home && *home == '/')
        n = snprintf(out, STORE_PATH_BYTES, "%s/.cache/rondo/models", home);
    else
        return err_set(e, ERR_FAILED,
                       "there is no folder for models: neither HOME nor "
                       "XDG_CACHE_HOME is set");
    if (n >= STORE_PATH_BYTES - NAME_FILE_BYTES - 2 * NAME_PART_BYTES - 32)
        return err_set(e, ERR_FAILED, "the path of the folder for models is too long");
    return 0;
}

bool stores_digest(const char *path, struct digest *out)
{
    char *real = realpath(path, NULL);
    const char *base = real ? strrchr(real, '/') + 1 : "";
    if (!strncmp(base, "sha256-", 7))
        base += 7;
    bool ok = http_head_hex(base, strlen(base), out);
    free(real);
    return ok;
}

char *stores_part_path(const char *path, int no)
{
    size_t stem;
    int first, of;
    char *out;
    if (!model_name_split(path, &stem, &first, &of))
        return strdup(path);
    return asprintf(&out, "%.*s-%05d-of-%05d.gguf", (int)stem, path, no, of) < 0 ? NULL : out;
}

// ---- names -------------------------------------------------------------------------------------

static bool same_repo(const struct stored *a, const char *owner, const char *repo)
{
    return a->owner[0] && !strcasecmp(a->owner, owner) && !strcasecmp(a->repo, repo);
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

// Whether the quantization alone tells this file from the others of its repository.
static bool quant_is_enough(const struct stores *s, const struct stored *m, const char *quant)
{
    char other[NAME_PART_BYTES];
    for (size_t i = 0; i < s->n; i++) {
        const struct stored *o = &s->at[i];
        if (o->kind == NAME_HUB && o->store == m->store && same_repo(o, m->owner, m->repo) &&
            strcmp(o->file, m->file) && quant_of(o->file, other) && !strcasecmp(quant, other))
            return false;
    }
    return true;
}

static int name_all(struct stores *s, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        struct stored *m = &s->at[i];
        char quant[NAME_PART_BYTES];
        bool library = m->kind == NAME_OLLAMA && !strcmp(m->owner, "library");
        int n;
        if (m->kind == NAME_OLLAMA)
            n = asprintf(&m->name, "ollama:%s%s%s:%.*s", library ? "" : m->owner,
                         library ? "" : "/", m->repo, (int)strlen(m->file) - 5, m->file);
        else if (m->kind == NAME_URL || !m->owner[0])
            n = asprintf(&m->name, "%s", m->path);
        else if (quant_of(m->file, quant) && quant_is_enough(s, m, quant))
            n = asprintf(&m->name, "hf:%s/%s:%s", m->owner, m->repo, quant);
        else
            n = asprintf(&m->name, "hf:%s/%s/%s", m->owner, m->repo, m->file);
        if (n < 0) {
            m->name = NULL;
            return err_set(e, ERR_NO_MEMORY, "no memory for the list of models");
        }
    }
    return 0;
}

int stores_scan(struct stores *s, struct err *e)
{
    *s = (struct stores){0};
    int rc = store_walk_all(s, e);
    if (!rc)
        rc = name_all(s, e);
    if (rc)
        stores_free(s);
    return rc;
}

void stores_free(struct stores *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->at[i].owner);
        free(s->at[i].repo);
        free(s->at[i].file);
        free(s->at[i].path);
        free(s->at[i].name);
    }
    free(s->at);
    *s = (struct stores){0};
}

// ---- finding -----------------------------------------------------------------------------------

// The file of a model within the repository that is asked for; NULL: it is of another.
static const char *file_in(const struct stored *m, const struct model_name *n)
{
    char prefix[2 * NAME_PART_BYTES + 2];
    if (m->kind != NAME_HUB)
        return NULL;
    if (m->owner[0])
        return same_repo(m, n->owner, n->repo) ? m->file : NULL;
    int length = snprintf(prefix, sizeof prefix, "%s_%s_", n->owner, n->repo); // of llama.cpp
    return strncasecmp(m->file, prefix, (size_t)length) ? NULL : m->file + length;
}

// The same model in two stores counts once.
static bool is_copy(const char *a, const char *b)
{
    char x[NAME_PART_BYTES], y[NAME_PART_BYTES];
    if (!strcmp(base_name(a), base_name(b)))
        return true;
    return quant_of(a, x) && quant_of(b, y) && !strcasecmp(x, y);
}

static int find_in_repo(const struct stores *s, const struct model_name *n, char *why,
                        size_t why_size, struct err *e)
{
    const char **files = malloc((s->n + 1) * sizeof *files);
    size_t *index = malloc((s->n + 1) * sizeof *index), count = 0;
    char name[NAME_FILE_BYTES + 2 * NAME_PART_BYTES];
    struct model_name wanted = *n;
    int rc = files && index ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for the list of models");
    for (size_t i = 0; !rc && i < s->n; i++) {
        const struct stored *m = &s->at[i];
        const char *file = m->partial ? NULL : file_in(m, n);
        bool copy = false;
        for (size_t k = 0; file && k < count && !copy; k++)
            copy = s->at[index[k]].store != m->store && is_copy(files[k], file);
        if (!file || copy)
            continue;
        files[count] = file;
        index[count++] = i;
        if (n->file[0] && !strcmp(base_name(n->file), base_name(file)))
            snprintf(wanted.file, sizeof wanted.file, "%s", file);
    }
    model_name_text(n, name, sizeof name);
    if (!rc && !count)
        rc = err_set(e, ERR_FAILED, "%s: is not on this machine; get it with: rondo pull %s", name,
                     name);
    struct err none = {0};
    if (!rc)
        rc = quant_choose(files, count, &wanted, why, why_size, &none);
    if (rc < 0 && none.code)
        err_set(e, rc, "%.240s (on this machine; get it with: rondo pull %s)", none.text, name);
    rc = rc < 0 ? rc : (int)index[rc];
    free(files);
    free(index);
    return rc;
}

int stores_find(const struct stores *s, const struct model_name *n, char *why, size_t why_size,
                struct err *e)
{
    char name[NAME_URL_BYTES];
    why[0] = 0;
    if (n->kind == NAME_HUB)
        return find_in_repo(s, n, why, why_size, e);
    for (size_t i = 0; i < s->n; i++) {
        const struct stored *m = &s->at[i];
        bool same = m->kind == n->kind && !m->partial;
        if (same && n->kind == NAME_URL)
            same = !strcmp(m->file, n->file);
        else if (same)
            same = same_repo(m, n->owner, n->repo) && strlen(m->file) == strlen(n->quant) + 5 &&
                   !strncmp(m->file, n->quant, strlen(n->quant));
        if (same)
            return (int)i;
    }
    model_name_text(n, name, sizeof name);
    if (n->kind == NAME_OLLAMA)
        return err_set(e, ERR_FAILED,
                       "%.200s: Ollama has no such model on this machine; 'rondo ls' lists what is "
                       "there",
                       name);
    return err_set(e, ERR_FAILED, "%.200s: is not on this machine; get it with: rondo pull %.200s",
                   name, name);
}
