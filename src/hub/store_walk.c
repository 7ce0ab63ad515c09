// Walking through the stores: see stores.h.
//
// A folder's model files are gathered first and sorted, so that the parts of a split model follow
// each other; then each group of files becomes one model.
#include "hub/store_walk.h"

#include "hub/part_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MANIFEST_BYTES = 1 << 20 };

struct found {  // a file below the folder
    char *file; // heap
    uint64_t size;
};

struct walk {
    struct stores *s;
    enum store store;
    char root[STORE_PATH_BYTES];
    const char *owner, *repo; // NULL: the first two parts of the file's path
    bool flat;                // neither: the names of the files have them
    struct found *at;         // heap
    size_t n, capacity;
    int entries; // seen so far
};

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NO_MEMORY, "no memory for the list of models");
}

// ---- what is found -----------------------------------------------------------------------------

static int add(struct stores *s, const struct stored *m, const char *owner, const char *repo,
               const char *file, struct err *e)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 32;
        struct stored *grown = realloc(s->at, capacity * sizeof *grown);
        if (!grown)
            return no_memory(e);
        s->at = grown;
        s->capacity = capacity;
    }
    struct stored *to = &s->at[s->n++];
    *to = *m;
    to->owner = strdup(owner);
    to->repo = strdup(repo);
    to->file = strdup(file);
    to->path = strdup(m->path);
    return to->owner && to->repo && to->file && to->path ? 0 : no_memory(e);
}

// OWNER/REPO/FILE; false: the path has another form.
static bool split_path(const char *path, char owner[NAME_PART_BYTES], char repo[NAME_PART_BYTES],
                       const char **file)
{
    size_t a = strcspn(path, "/"), b = path[a] ? strcspn(path + a + 1, "/") : 0;
    if (!path[a] || !path[a + 1 + b] || a >= NAME_PART_BYTES || b >= NAME_PART_BYTES)
        return false;
    memcpy(owner, path, a);
    owner[a] = 0;
    memcpy(repo, path + a + 1, b);
    repo[b] = 0;
    *file = path + a + 1 + b + 1;
    return true;
}

static int add_model(struct walk *w, const char *file, struct stored *m, struct err *e)
{
    char owner[NAME_PART_BYTES], repo[NAME_PART_BYTES], *path;
    const char *rest;
    int rc;
    if (asprintf(&path, "%s/%s", w->root, file) < 0)
        return no_memory(e);
    m->store = w->store;
    m->path = path;
    m->kind = NAME_HUB;
    if (w->store == STORE_RONDO && !strncmp(file, "_url/", 5)) {
        m->kind = NAME_URL;
        rc = add(w->s, m, "", "", file + 5, e);
    } else if (w->owner) {
        rc = add(w->s, m, w->owner, w->repo, file, e);
    } else if (!w->flat && split_path(file, owner, repo, &rest)) {
        rc = add(w->s, m, owner, repo, rest, e);
    } else {
        rc = add(w->s, m, "", "", file, e);
    }
    free(path);
    return rc;
}

static size_t without_part(const char *file)
{
    size_t length = strlen(file);
    return length > 5 && !strcmp(file + length - 5, ".part") ? length - 5 : length;
}

// What files of one model have in common.
static size_t stem_of(const char *file)
{
    char plain[STORE_PATH_BYTES];
    size_t length = without_part(file), stem;
    int no, of;
    if (length >= sizeof plain)
        return length;
    memcpy(plain, file, length);
    plain[length] = 0;
    return model_name_split(plain, &stem, &no, &of) ? stem : length;
}

// How much of a .part file is there, of how much.
static void read_state(const struct walk *w, const char *file, struct stored *m)
{
    char path[STORE_PATH_BYTES], *text = malloc(PART_STATE_BYTES);
    struct part_state state;
    int length = snprintf(path, sizeof path, "%s/%s.json", w->root, file);
    int fd = length < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    ssize_t n = fd >= 0 && text ? read(fd, text, PART_STATE_BYTES) : -1;
    if (n > 0 && part_state_parse(&state, text, (size_t)n)) {
        m->size += ranges_bytes(&state.done);
        m->total += state.size;
    }
    if (fd >= 0)
        close(fd);
    free(text);
}

// One model: the files first .. first + n.
static int add_group(struct walk *w, size_t first, size_t n, struct err *e)
{
    struct stored m = {0};
    char name[STORE_PATH_BYTES];
    size_t stem, whole = 0;
    int no, of = 1;
    for (size_t i = 0; i < n; i++) {
        const struct found *f = &w->at[first + i];
        if (without_part(f->file) < strlen(f->file)) {
            read_state(w, f->file, &m);
            continue;
        }
        m.size += f->size;
        m.total += f->size;
        whole++;
    }
    snprintf(name, sizeof name, "%.*s", (int)without_part(w->at[first].file), w->at[first].file);
    if (model_name_split(name, &stem, &no, &of))
        snprintf(name + stem, sizeof name - stem, "-00001-of-%05d.gguf", of);
    else
        of = 1;
    m.n_parts = of;
    m.partial = whole != (size_t)of;
    if (m.partial && of > 1)
        m.total = 0; // of parts that have not begun nothing is known
    if (m.partial && w->store != STORE_RONDO)
        return 0;
    return add_model(w, name, &m, e);
}

static int by_file(const void *x, const void *y)
{
    return strcmp(((const struct found *)x)->file, ((const struct found *)y)->file);
}

static int add_groups(struct walk *w, struct err *e)
{
    int rc = 0;
    if (w->n)
        qsort(w->at, w->n, sizeof *w->at, by_file);
    for (size_t lo = 0, hi; lo < w->n && !rc; lo = hi) {
        size_t stem = stem_of(w->at[lo].file);
        for (hi = lo + 1; hi < w->n && stem_of(w->at[hi].file) == stem &&
                          !strncmp(w->at[hi].file, w->at[lo].file, stem);)
            hi++;
        rc = add_group(w, lo, hi - lo, e);
    }
    return rc;
}

// ---- folders -----------------------------------------------------------------------------------

static int take_file(struct walk *w, const char *file, uint64_t size, struct err *e)
{
    char plain[STORE_PATH_BYTES];
    size_t length = without_part(file);
    bool part = file[length] != 0;
    snprintf(plain, sizeof plain, "%.*s", (int)length, file);
    if (!quant_is_model(plain) || (part && w->store != STORE_RONDO) || !size)
        return 0;
    if (w->n == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 64;
        struct found *grown = realloc(w->at, capacity * sizeof *grown);
        if (!grown)
            return no_memory(e);
        w->at = grown;
        w->capacity = capacity;
    }
    w->at[w->n].size = size;
    w->at[w->n].file = strdup(file);
    return w->at[w->n].file ? (w->n++, 0) : no_memory(e);
}

static int walk_folder(struct walk *w, const char *below, int depth, struct err *e)
{
    char path[STORE_PATH_BYTES], file[STORE_PATH_BYTES];
    int rc = 0;
    if (snprintf(path, sizeof path, "%s/%s", w->root, below) >= (int)sizeof path)
        return 0;
    DIR *d = opendir(path);
    for (struct dirent *f; d && !rc && (f = readdir(d)) && w->entries++ < STORE_MAX_ENTRIES;) {
        struct stat s;
        if (f->d_name[0] == '.' || !strcmp(f->d_name, "blobs"))
            continue;
        int n = snprintf(file, sizeof file, "%s%s%s", below, *below ? "/" : "", f->d_name);
        if (n >= (int)sizeof file ||
            snprintf(path, sizeof path, "%s/%s", w->root, file) >= (int)sizeof path ||
            stat(path, &s))
            continue;
        if (S_ISDIR(s.st_mode) && depth < STORE_MAX_DEPTH)
            rc = walk_folder(w, file, depth + 1, e);
        else if (S_ISREG(s.st_mode))
            rc = take_file(w, file, (uint64_t)s.st_size, e);
    }
    if (d)
        closedir(d);
    return rc;
}

static int walk_files(struct stores *s, struct walk *w, struct err *e)
{
    w->s = s;
    int rc = walk_folder(w, "", 0, e);
    if (!rc)
        rc = add_groups(w, e);
    for (size_t i = 0; i < w->n; i++)
        free(w->at[i].file);
    free(w->at);
    return rc;
}

// ---- Hugging Face ------------------------------------------------------------------------------

static bool read_small(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    out[n] = 0;
    return true;
}

// models--OWNER--REPO: the snapshot that refs/main names, or all where there is no such reference.
static int walk_hf_repo(struct stores *s, const char *root, const char *folder, struct err *e)
{
    char path[STORE_PATH_BYTES], revision[128], owner[NAME_PART_BYTES];
    const char *name = folder + strlen("models--"), *dashes = strstr(name, "--");
    struct walk w = {.store = STORE_HUGGING_FACE};
    char *save;
    if (!dashes || (size_t)(dashes - name) >= sizeof owner)
        return 0;
    snprintf(owner, sizeof owner, "%.*s", (int)(dashes - name), name);
    w.owner = owner;
    w.repo = dashes + 2;
    int n = snprintf(path, sizeof path, "%s/%s/refs/main", root, folder);
    if (n < (int)sizeof path && read_small(path, revision, sizeof revision) &&
        strtok_r(revision, "\r\n", &save) && model_name_path_ok(revision))
        n = snprintf(w.root, sizeof w.root, "%s/%s/snapshots/%s", root, folder, revision);
    else
        return 0; // of a download that never ended
    return n < (int)sizeof w.root ? walk_files(s, &w, e) : 0;
}

static int walk_hf(struct stores *s, const char *root, struct err *e)
{
    int rc = 0;
    DIR *d = opendir(root);
    for (struct dirent *f; d && !rc && (f = readdir(d));)
        if (!strncmp(f->d_name, "models--", 8))
            rc = walk_hf_repo(s, root, f->d_name, e);
    if (d)
        closedir(d);
    return rc;
}

// ---- Ollama ------------------------------------------------------------------------------------

// The blob of the layer that is the model; false: the manifest has none.
static bool manifest_blob(const char *text, size_t size, char out[80])
{
    json_t *j = json_loadb(text, size, 0, NULL), *layers = json_object_get(j, "layers");
    bool found = false;
    for (size_t i = 0; i < json_array_size(layers) && !found; i++) {
        const json_t *layer = json_array_get(layers, i);
        const char *type = json_string_value(json_object_get(layer, "mediaType"));
        const char *digest = json_string_value(json_object_get(layer, "digest"));
        struct digest d;
        found = type && digest && !strcmp(type, "application/vnd.ollama.image.model") &&
                !strncmp(digest, "sha256:", 7) && http_head_hex(digest + 7, strlen(digest + 7), &d);
        if (found)
            snprintf(out, 80, "sha256-%s", digest + 7);
    }
    json_decref(j);
    return found;
}

// `below` is HOST/OWNER/NAME/TAG.
static int add_manifest(struct stores *s, const char *root, char *below, struct err *e)
{
    char path[STORE_PATH_BYTES], blob[80], file[NAME_PART_BYTES + 8];
    char *part[4], *text = malloc(MANIFEST_BYTES);
    struct stat st;
    int n = 0, rc = 0;
    int length = snprintf(path, sizeof path, "%s/manifests/%s", root, below);
    bool ok = text && length < (int)sizeof path && read_small(path, text, MANIFEST_BYTES);
    for (char *save, *p = strtok_r(below, "/", &save); p; p = strtok_r(NULL, "/", &save))
        if (n++ < 4)
            part[n - 1] = p;
    if (!ok || n != 4 || strlen(part[3]) >= NAME_PART_BYTES ||
        !manifest_blob(text, strlen(text), blob) ||
        snprintf(path, sizeof path, "%s/blobs/%s", root, blob) >= (int)sizeof path ||
        stat(path, &st) || !S_ISREG(st.st_mode)) {
        free(text);
        return 0;
    }
    bool hub = !strcmp(part[0], "hf.co") || !strcmp(part[0], "huggingface.co");
    struct stored m = {.store = STORE_OLLAMA,
                       .kind = hub ? NAME_HUB : NAME_OLLAMA,
                       .path = path,
                       .n_parts = 1,
                       .size = (uint64_t)st.st_size};
    snprintf(file, sizeof file, "%s.gguf", part[3]);
    rc = add(s, &m, part[1], part[2], file, e);
    free(text);
    return rc;
}

static int walk_manifests(struct stores *s, const char *root, const char *below, int depth,
                          struct err *e)
{
    char path[STORE_PATH_BYTES];
    int rc = 0;
    if (snprintf(path, sizeof path, "%s/manifests/%s", root, below) >= (int)sizeof path)
        return 0;
    DIR *d = opendir(path);
    for (struct dirent *f; d && !rc && (f = readdir(d));) {
        char next[STORE_PATH_BYTES];
        if (f->d_name[0] == '.' || snprintf(next, sizeof next, "%s%s%s", below, *below ? "/" : "",
                                            f->d_name) >= (int)sizeof next)
            continue;
        rc = depth < 3 ? walk_manifests(s, root, next, depth + 1, e)
                       : add_manifest(s, root, next, e);
    }
    if (d)
        closedir(d);
    return rc;
}

// ---- all of them -------------------------------------------------------------------------------

// $VARIABLE + tail, where that is an absolute path; else nothing.
static bool from_variable(char out[STORE_PATH_BYTES], const char *variable, const char *tail)
{
    const char *value = getenv(variable);
    return value && *value == '/' &&
           snprintf(out, STORE_PATH_BYTES, "%s%s", value, tail) < STORE_PATH_BYTES;
}

static int walk_plain(struct stores *s, enum store store, const char *root, struct err *e)
{
    struct walk w = {.store = store, .flat = store == STORE_LLAMA_CPP};
    snprintf(w.root, sizeof w.root, "%s", root);
    return walk_files(s, &w, e);
}

static int walk_ollama(struct stores *s, struct err *e)
{
    char root[STORE_PATH_BYTES];
    int rc = 0;
    if (from_variable(root, "OLLAMA_MODELS", ""))
        return walk_manifests(s, root, "", 0, e);
    if (from_variable(root, "HOME", "/.ollama/models"))
        rc = walk_manifests(s, root, "", 0, e);
    return rc ? rc : walk_manifests(s, "/usr/share/ollama/.ollama/models", "", 0, e);
}

int store_walk_all(struct stores *s, struct err *e)
{
    char root[STORE_PATH_BYTES];
    int rc = store_folder(root, e);
    if (!rc)
        rc = walk_plain(s, STORE_RONDO, root, e);
    if (!rc && (from_variable(root, "HF_HUB_CACHE", "") || from_variable(root, "HF_HOME", "/hub") ||
                from_variable(root, "XDG_CACHE_HOME", "/huggingface/hub") ||
                from_variable(root, "HOME", "/.cache/huggingface/hub")))
        rc = walk_hf(s, root, e);
    if (!rc && (from_variable(root, "LLAMA_CACHE", "") ||
                from_variable(root, "XDG_CACHE_HOME", "/llama.cpp") ||
                from_variable(root, "HOME", "/.cache/llama.cpp")))
        rc = walk_plain(s, STORE_LLAMA_CPP, root, e);
    if (!rc && from_variable(root, "HOME", "/.lmstudio/models"))
        rc = walk_plain(s, STORE_LM_STUDIO, root, e);
    if (!rc && from_variable(root, "HOME", "/.cache/lm-studio/models"))
        rc = walk_plain(s, STORE_LM_STUDIO, root, e);
    return rc ? rc : walk_ollama(s, e);
}
