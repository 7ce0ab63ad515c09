// rondo rm: removes a model that rondo pull has downloaded, all of its files, and nothing else.
#include "app/amounts.h"
#include "app/verbs.h"
#include "hub/stores.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { WHY_BYTES = 512, SHOWN_BYTES = 200 };

// A download that has not ended, by its repository and what else the name tells.
static int find_partial(const struct stores *s, const struct model_name *n)
{
    char quant[NAME_PART_BYTES];
    for (size_t i = 0; i < s->n; i++) {
        const struct stored *m = &s->at[i];
        bool same = m->partial && m->kind == n->kind;
        if (same && n->kind == NAME_HUB)
            same = !strcasecmp(m->owner, n->owner) && !strcasecmp(m->repo, n->repo) &&
                   (!n->file[0] || !strcmp(m->file, n->file)) &&
                   (!n->quant[0] || (quant_of(m->file, quant) && !strcasecmp(quant, n->quant)));
        else if (same)
            same = !strcmp(m->file, n->file);
        if (same)
            return (int)i;
    }
    return -1;
}

// By the name or the path that `rondo ls` prints, or by any name of it.
static int find(const struct stores *s, const char *name, struct err *e)
{
    char why[WHY_BYTES], quoted[SHOWN_BYTES];
    struct model_name n;
    for (size_t i = 0; i < s->n; i++) // Rondo's own come first
        if (!strcmp(s->at[i].name, name) || !strcmp(s->at[i].path, name))
            return (int)i;
    if (!model_name_claimed(name) && !model_name_bare(name))
        return err_set(e, ERR_FAILED, "'%s' is no model that 'rondo ls' lists",
                       err_quote(quoted, sizeof quoted, name, (int)strnlen(name, SHOWN_BYTES)));
    int rc = model_name_parse(&n, name, e);
    if (rc)
        return rc;
    int i = find_partial(s, &n);
    return i >= 0 ? i : stores_find(s, &n, why, sizeof why, e);
}

static int confirm(const struct stored *m, struct err *e)
{
    char size[AMOUNT_BYTES], answer[16];
    amount_size(size, m->size);
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return err_set(e, ERR_USAGE,
                       "%.200s: nobody can be asked whether it shall go (%s); say it "
                       "with --yes",
                       m->name, size);
    fprintf(stderr, "remove %s, %s? [y/N] ", m->name, size);
    if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
        return err_set(e, ERR_FAILED, "%.200s: stays", m->name);
    return 0;
}

// The folder of a file must really lie below Rondo's own, not behind a link that leads elsewhere.
static bool is_below(const char *path, const char *folder)
{
    char *copy = strdup(path);
    if (copy)
        *strrchr(copy, '/') = 0;
    char *real = copy ? realpath(copy, NULL) : NULL, *top = realpath(folder, NULL);
    bool below = real && top && !strncmp(real, top, strlen(top)) &&
                 (real[strlen(top)] == '/' || !real[strlen(top)]);
    free(copy);
    free(real);
    free(top);
    return below;
}

// One file with all that belongs to it: its lane form, and what a download leaves.
static int remove_file(const char *path, struct err *e)
{
    static const char *const tails[] = {"", ".lanes", ".part", ".part.json", ".part.json.new"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        char *file;
        if (asprintf(&file, "%s%s", path, tails[i]) < 0)
            return err_set(e, ERR_NO_MEMORY, "no memory to remove a model");
        int rc = unlink(file) && errno != ENOENT
                     ? err_errno(e, errno == EACCES || errno == EROFS ? ERR_DENIED : ERR_FAILED,
                                 "%s: cannot be removed", file)
                     : 0;
        free(file);
        if (rc)
            return rc;
    }
    return 0;
}

// Folders that are empty now, up to Rondo's own.
static void remove_folders(const char *path, const char *folder)
{
    char *above = strdup(path);
    while (above && strlen(above) > strlen(folder)) {
        *strrchr(above, '/') = 0;
        if (strlen(above) <= strlen(folder) || rmdir(above))
            break;
    }
    free(above);
}

static int remove_model(const struct stored *m, struct err *e)
{
    char folder[STORE_PATH_BYTES], size[AMOUNT_BYTES];
    int rc = store_folder(folder, e);
    if (!rc && !is_below(m->path, folder))
        rc = err_set(e, ERR_DENIED,
                     "%s: lies behind a link that leads out of Rondo's folder; remove it yourself",
                     m->path);
    for (int i = 1; i <= m->n_parts && !rc; i++) {
        char *path = stores_part_path(m->path, i);
        rc = path ? remove_file(path, e) : err_set(e, ERR_NO_MEMORY, "no memory to remove a model");
        free(path);
    }
    if (rc)
        return rc;
    remove_folders(m->path, folder);
    amount_size(size, m->size);
    printf("%s: removed, %s are free again\n", m->name, size);
    return 0;
}

static int run(const struct options *o, struct err *e)
{
    struct stores s;
    int rc = stores_scan(&s, e);
    if (rc)
        return rc;
    int i = find(&s, options_arg(o, 0), e);
    const struct stored *m = i < 0 ? NULL : &s.at[i];
    if (!m)
        rc = i;
    else if (m->store != STORE_RONDO)
        rc = err_set(e, ERR_DENIED,
                     "%.150s: belongs to %s (%.200s); Rondo removes only what it has downloaded "
                     "itself",
                     m->name, store_name(m->store), m->path);
    else if (!options_flag(o, OPT_YES))
        rc = confirm(m, e);
    if (!rc)
        rc = remove_model(m, e);
    stores_free(&s);
    return rc;
}

const struct verb verb_rm = {
    .name = "rm",
    .summary = "remove a downloaded model",
    .usage = "NAME",
    .text = "Removes all files of a model that rondo pull has downloaded, or the rest of a "
            "download that was broken off; 'rondo ls' lists them. On a terminal it asks first. "
            "What other programs have downloaded stays.",
    .options = (const struct verb_option[]){{OPT_YES, NULL}, {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
