// From a name to a file: see download.h.
#include "hub/download.h"

#include "base/arith.h"
#include "disk/io.h"
#include "hub/fetch_part.h"
#include "hub/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SENTENCE_BYTES = 512, ENDPOINT_BYTES = 1024 };

struct wanted {       // one file
    char *url, *path; // heap
    uint64_t size;    // 0: not known
    bool has_digest, there;
    struct digest digest;
};

struct job {
    const struct download *d;
    struct downloaded *out;
    struct request_how how;
    struct stores stores;
    char endpoint[ENDPOINT_BYTES], folder[STORE_PATH_BYTES];
    struct wanted *files; // heap
    int n_files;
    uint64_t before, total; // of the files before the one that is fetched; of all, 0: not known
};

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NO_MEMORY, "no memory to download");
}

static bool stop(void *arg)
{
    const struct job *j = arg;
    return j->d->told && !j->d->told(j->d->arg, FETCH_MOVING, 0, 0);
}

static bool told(void *arg, enum fetch_phase phase, uint64_t done, uint64_t total)
{
    const struct job *j = arg;
    if (phase == FETCH_MOVING && j->n_files > 1) {
        done += j->before;
        total = j->total;
    }
    return !j->d->told || j->d->told(j->d->arg, phase, done, total);
}

static bool told_checking(void *arg, uint64_t done, uint64_t total)
{
    return told(arg, FETCH_CHECKING, done, total);
}

static void say(const struct job *j, const char *sentence)
{
    if (j->d->say && sentence[0])
        j->d->say(j->d->arg, sentence);
}

// ---- where from --------------------------------------------------------------------------------

static int choose_endpoint(struct job *j, struct err *e)
{
    const struct download *d = j->d;
    const char *from = d->mirror ? d->mirror : d->endpoint ? d->endpoint : DOWNLOAD_HUB;
    const char *what = d->mirror ? "--mirror" : "HF_ENDPOINT", *host = strstr(from, "://");
    size_t length = strlen(from);
    bool ok = host && (!strncasecmp(from, "https://", 8) || !strncasecmp(from, "http://", 7)) &&
              host[3] && length < sizeof j->endpoint;
    for (size_t i = 0; ok && i < length; i++)
        ok = from[i] > 0x20 && from[i] < 0x7f && !strchr("?#@", from[i]);
    if (!ok)
        return err_set(e, ERR_USAGE,
                       "%s must be the address of a server, as in https://huggingface.co, without "
                       "names and passwords",
                       what);
    while (from[length - 1] == '/')
        length--;
    memcpy(j->endpoint, from, length);
    j->endpoint[length] = 0;
    j->how = (struct request_how){.token = d->mirror ? NULL : d->token,
                                  .token_for = j->endpoint,
                                  .stall_s = d->stall_s,
                                  .backoff_ms = FETCH_BACKOFF_MS,
                                  .stop = stop,
                                  .arg = j};
    return 0;
}

// ---- what is wanted ----------------------------------------------------------------------------

static int want_hub_files(struct job *j, const struct model_name *n, const struct listing *l,
                          int first, int n_files, struct err *e)
{
    j->files = calloc((size_t)n_files, sizeof *j->files);
    if (!j->files)
        return no_memory(e);
    j->n_files = n_files;
    for (int i = 0; i < n_files; i++) {
        const struct hub_file *f = &l->files[first + i];
        struct wanted *w = &j->files[i];
        w->size = f->size;
        w->has_digest = f->has_digest;
        w->digest = f->digest;
        if (__builtin_add_overflow(j->total, f->size, &j->total))
            return err_set(e, ERR_FAILED, "the hub lists sizes that no files have");
        if (asprintf(&w->url, "%s/%s/%s/resolve/main/%s", j->endpoint, n->owner, n->repo, f->path) <
            0)
            w->url = NULL;
        if (asprintf(&w->path, "%s/%s/%s/%s", j->folder, n->owner, n->repo, f->path) < 0)
            w->path = NULL;
        if (!w->url || !w->path)
            return no_memory(e);
    }
    return 0;
}

static int want_url_files(struct job *j, const struct model_name *n, struct err *e)
{
    size_t url = strcspn(n->url, "?#"), stem;
    int no, of = 1;
    bool split = model_name_split(n->file, &stem, &no, &of);
    size_t suffix = split ? strlen(n->file) - stem : 0;
    if (of > LISTING_MAX_FILES)
        return err_set(e, ERR_USAGE, "a model of %d parts is none", of);
    j->files = calloc((size_t)of, sizeof *j->files);
    if (!j->files)
        return no_memory(e);
    j->n_files = of;
    for (int i = 0; i < of; i++) {
        struct wanted *w = &j->files[i];
        char part[40] = "";
        if (split)
            snprintf(part, sizeof part, "-%05d-of-%05d.gguf", i + 1, of);
        if (asprintf(&w->url, "%.*s%s%s", (int)(url - suffix), n->url, part, n->url + url) < 0)
            w->url = NULL;
        if (asprintf(&w->path, "%s/_url/%.*s%s", j->folder, (int)(strlen(n->file) - suffix),
                     n->file, part) < 0)
            w->path = NULL;
        if (!w->url || !w->path)
            return no_memory(e);
    }
    return 0;
}

// ---- what is there -----------------------------------------------------------------------------

// Whether the file at `path` is the wanted one: by size, and by digest where one is known. 1 or 0,
// or an error (also: interrupted).
static int is_wanted(struct job *j, const struct wanted *w, const char *path, struct err *e)
{
    struct stat s;
    struct digest d;
    if (stat(path, &s) || !S_ISREG(s.st_mode) || (w->size && (uint64_t)s.st_size != w->size))
        return 0;
    if (!w->has_digest)
        return 1;
    if (!stores_digest(path, &d)) { // the store does not tell it
        int fd = disk_io->open(path, O_RDONLY, 0);
        if (fd < 0)
            return 0;
        int rc = fetch_digest_fd(fd, path, (uint64_t)s.st_size, &d, told_checking, j, e);
        disk_io->close(fd);
        if (rc)
            return rc;
    }
    return !memcmp(&d, &w->digest, sizeof d);
}

// Whether a stored model could be the wanted one, by its names and sizes or by a digest.
static bool worth_a_look(const struct job *j, const struct stored *m, const struct model_name *n,
                         const char *file)
{
    struct digest d;
    char flat[NAME_FILE_BYTES + 2 * NAME_PART_BYTES + 4];
    if (m->partial || m->n_parts != j->n_files || m->size != j->total)
        return false;
    if (j->files[0].has_digest && stores_digest(m->path, &d) &&
        !memcmp(&d, &j->files[0].digest, sizeof d))
        return true;
    if (m->kind != NAME_HUB)
        return false;
    if (m->owner[0])
        return !strcasecmp(m->owner, n->owner) && !strcasecmp(m->repo, n->repo) &&
               !strcmp(m->file, file);
    snprintf(flat, sizeof flat, "%s_%s_%s", n->owner, n->repo, file); // as llama.cpp names it
    for (char *c = flat; *c; c++)
        *c = *c == '/' ? '_' : *c;
    return !strcmp(m->file, flat);
}

static void found(struct job *j, const struct stored *m)
{
    struct downloaded *out = j->out;
    snprintf(out->path, sizeof out->path, "%s", m->path);
    out->size = m->size;
    out->n_files = m->n_parts;
    out->here = true;
    out->store = m->store;
}

// 1: found and compared; 0: it is nowhere; or an error.
static int look_around(struct job *j, const struct model_name *n, const char *file, struct err *e)
{
    for (size_t i = 0; i < j->stores.n; i++) {
        const struct stored *m = &j->stores.at[i];
        int same = worth_a_look(j, m, n, file);
        bool verified = same;
        for (int k = 0; same > 0 && k < j->n_files; k++) {
            char *path = stores_part_path(m->path, k + 1);
            same = path ? is_wanted(j, &j->files[k], path, e) : no_memory(e);
            verified = verified && j->files[k].has_digest;
            free(path);
        }
        if (same > 0) {
            found(j, m);
            j->out->verified = verified;
        }
        if (same)
            return same;
    }
    return 0;
}

// ---- getting it --------------------------------------------------------------------------------

// The nearest folder above a path that is there.
static int check_room(const struct job *j, struct err *e)
{
    uint64_t needed = 0;
    struct statvfs fs;
    struct stat s;
    char folder[STORE_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", j->folder);
    while (strrchr(folder, '/') > folder && access(folder, F_OK))
        *strrchr(folder, '/') = 0;
    for (int i = 0; i < j->n_files; i++) {
        char *part;
        uint64_t there = 0;
        if (asprintf(&part, "%s.part", j->files[i].path) < 0)
            return no_memory(e);
        if (!stat(part, &s))
            there = (uint64_t)s.st_blocks * 512;
        if (!j->files[i].there && j->files[i].size > there)
            needed += j->files[i].size - there;
        free(part);
    }
    if (statvfs(folder, &fs) || (double)fs.f_bavail * (double)fs.f_frsize >= (double)needed)
        return 0;
    return err_set(e, ERR_FAILED,
                   "%s: %.2f GB are still to come, %.2f GB are free there; make room, or put the "
                   "cache elsewhere with XDG_CACHE_HOME",
                   folder, (double)needed * 1e-9, (double)fs.f_bavail * (double)fs.f_frsize * 1e-9);
}

static int fetch_one(struct job *j, struct wanted *w, struct err *e)
{
    struct fetch f = {.url = w->url,
                      .path = w->path,
                      .size = w->size,
                      .has_digest = w->has_digest,
                      .digest = w->digest,
                      .n_connections = j->d->n_connections,
                      .how = j->how,
                      .told = told,
                      .arg = j};
    struct fetched got;
    int rc = fetch_file(&f, &got, e);
    j->out->moved += got.moved;
    j->out->size += got.size;
    j->before += got.size;
    j->out->verified = j->out->verified && got.verified;
    return rc;
}

static int fetch_all(struct job *j, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < j->n_files && rc >= 0; i++) { // parts that came whole before
        rc = is_wanted(j, &j->files[i], j->files[i].path, e);
        j->files[i].there = rc > 0;
    }
    if (rc >= 0)
        rc = check_room(j, e);
    j->out->verified = true;
    for (int i = 0; i < j->n_files && !rc; i++) {
        struct wanted *w = &j->files[i];
        struct stat s;
        if (!w->there) {
            rc = fetch_one(j, w, e);
        } else if (!stat(w->path, &s)) {
            j->before += (uint64_t)s.st_size;
            j->out->size += (uint64_t)s.st_size;
            j->out->verified = j->out->verified && w->has_digest;
        }
    }
    snprintf(j->out->path, sizeof j->out->path, "%s", j->files[0].path);
    j->out->n_files = j->n_files;
    j->out->store = STORE_RONDO;
    return rc;
}

// ---- kinds of names ----------------------------------------------------------------------------

// The hub is out of reach: what is here under this name will do.
static int use_without_hub(struct job *j, const struct model_name *n, const struct err *why,
                           struct err *e)
{
    char choice[SENTENCE_BYTES], sentence[2 * SENTENCE_BYTES];
    struct err none = {0};
    int i = stores_find(&j->stores, n, choice, sizeof choice, &none);
    if (i < 0)
        return err_set(e, why->code, "%s", why->text);
    snprintf(sentence, sizeof sentence,
             "the hub cannot be asked (%s), so what is on this machine is taken as it is",
             why->text);
    say(j, sentence);
    say(j, choice);
    found(j, &j->stores.at[i]);
    return 0;
}

static int get_hub(struct job *j, const struct model_name *n, struct err *e)
{
    struct listing l = {0};
    struct err why = {0};
    char choice[SENTENCE_BYTES];
    int n_files = 0, rc = listing_fetch(&l, &j->how, j->endpoint, n, &why);
    if (rc) {
        listing_free(&l);
        return rc == ERR_UNREACHABLE ? use_without_hub(j, n, &why, e)
                                     : err_set(e, rc, "%s", why.text);
    }
    int first = listing_choose(&l, n, &n_files, choice, sizeof choice, e);
    rc = first < 0 ? first : want_hub_files(j, n, &l, first, n_files, e);
    if (!rc) {
        say(j, choice);
        rc = look_around(j, n, l.files[first].path, e);
        if (!rc)
            rc = fetch_all(j, e);
    }
    listing_free(&l);
    return rc < 0 ? rc : 0;
}

static int get_url(struct job *j, const struct model_name *n, struct err *e)
{
    char choice[SENTENCE_BYTES];
    struct err none = {0};
    int i = stores_find(&j->stores, n, choice, sizeof choice, &none);
    if (i >= 0) {
        found(j, &j->stores.at[i]);
        return 0;
    }
    int rc = want_url_files(j, n, e);
    return rc ? rc : fetch_all(j, e);
}

int download_model(const struct download *d, const struct model_name *n, struct downloaded *out,
                   struct err *e)
{
    struct job j = {.d = d, .out = out};
    *out = (struct downloaded){0};
    int rc = choose_endpoint(&j, e);
    if (!rc)
        rc = store_folder(j.folder, e);
    if (!rc)
        rc = stores_scan(&j.stores, e);
    if (!rc && n->kind == NAME_OLLAMA) {
        char why[SENTENCE_BYTES];
        int i = stores_find(&j.stores, n, why, sizeof why, e);
        rc = i < 0 ? i : 0;
        if (!rc)
            found(&j, &j.stores.at[i]);
    } else if (!rc) {
        rc = n->kind == NAME_HUB ? get_hub(&j, n, e) : get_url(&j, n, e);
    }
    for (int i = 0; i < j.n_files; i++) {
        free(j.files[i].url);
        free(j.files[i].path);
    }
    free(j.files);
    stores_free(&j.stores);
    return rc;
}
