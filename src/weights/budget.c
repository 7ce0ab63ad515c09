// Reading what memory is left: see budget.h. Linux says it in /proc/meminfo and in the files of
// control groups; a limit that is not there is no limit. A group is where /proc/self/cgroup says,
// below the mount; in a container that sees only its own part the outer names are not there, and
// the walk up ends at the mount itself, which is the container's group.
#include "weights/budget.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PATH_BYTES = 1024,
    MAX_NESTING = 64,
    TEXT_BYTES = 8192,
    POLLS_PER_MEMBERSHIP = 50,
    POLLS_PER_NEW_LIMIT = 10,
    HIT_BYTES = 4096, // that are reclaimed each time that a limit is hit, about
};

static const uint64_t LEAST_FLOOR = 256u << 20;
static const uint64_t NO_LIMIT = 1ull << 62; // version 1 says a little less than 2^63 for none

// Files of a group, or -1. `hits` counts how often its limit was hit. `high` is version 2's limit
// that slows down instead of killing.
struct group_files {
    int limit, high, usage, stat, hits;
    uint64_t cache, n_hits; // when the cache was counted last
};

struct budget_watch {
    char root[PATH_BYTES];
    int meminfo, membership; // files, or -1
    int n_sources;           // the first is the machine
    struct budget_source sources[BUDGET_MAX_SOURCES];
    struct group_files files[BUDGET_MAX_SOURCES]; // of each source; the machine has none
    char groups[TEXT_BYTES];                      // what `membership` said when they were opened
    unsigned n_polls;
};

// ---- text of files -----------------------------------------------------------------------------

static int open_at(const char *root, const char *folder, const char *name)
{
    char path[3 * PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s%s%s", root, folder, name);
    return n > 0 && (size_t)n < sizeof path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static bool read_text(int fd, char text[TEXT_BYTES])
{
    ssize_t n = fd < 0 ? -1 : pread(fd, text, TEXT_BYTES - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

// The number that the text begins with, behind spaces; "max" is none.
static bool parse_number(const char *text, uint64_t *out)
{
    text += strspn(text, " \t");
    if (*text < '0' || *text > '9')
        return false;
    *out = strtoull(text, NULL, 10);
    return true;
}

// "KEY NUMBER" of lines of such.
static bool parse_key(const char *text, const char *key, uint64_t *out)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length) && (line[length] == ' ' || line[length] == '\t'))
            return parse_number(line + length, out);
    }
    return false;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

// ---- sources -----------------------------------------------------------------------------------

static void poll_machine(struct budget_watch *w)
{
    struct budget_source *s = &w->sources[0];
    char text[TEXT_BYTES];
    uint64_t total, available;
    s->limits = read_text(w->meminfo, text) && parse_key(text, "MemAvailable:", &available) &&
                available < NO_LIMIT >> 10;
    if (!s->limits)
        return;
    if (!parse_key(text, "MemTotal:", &total) || total < available || total >= NO_LIMIT >> 10)
        total = available;
    s->limit = total << 10;
    s->free = available << 10;
    s->used = s->limit - s->free;
    s->floor = s->limit / 20 > LEAST_FLOOR ? s->limit / 20 : LEAST_FLOOR;
}

// File pages on the lists of what may be reclaimed. Version 2 counts as used, too, what the kernel
// remembers about files, and says how much of it can go.
static uint64_t group_cache(const char *stat, bool v2)
{
    const char *const v1_keys[] = {"total_active_file", "total_inactive_file", NULL};
    const char *const v2_keys[] = {"active_file", "inactive_file", "slab_reclaimable", NULL};
    uint64_t cache = 0, n;
    for (const char *const *key = v2 ? v2_keys : v1_keys; *key; key++)
        if (parse_key(stat, *key, &n))
            cache += at_most(n, NO_LIMIT);
    return cache;
}

// What of the cache is left. Where much happens the kernel sometimes counts it every two seconds
// only, and a hog takes all of it in between: a page or so each time that it hits the limit.
static uint64_t group_cache_now(struct group_files *f, uint64_t counted, bool v2)
{
    char text[TEXT_BYTES];
    uint64_t n_hits = 0;
    if (read_text(f->hits, text) &&
        !(v2 ? parse_key(text, "max", &n_hits) : parse_number(text, &n_hits)))
        n_hits = 0;
    if (counted != f->cache || n_hits < f->n_hits) {
        f->cache = counted;
        f->n_hits = n_hits;
    }
    return less(counted, at_most(n_hits - f->n_hits, NO_LIMIT / HIT_BYTES) * HIT_BYTES);
}

static void poll_group(struct budget_watch *w, int i)
{
    struct budget_source *s = &w->sources[i];
    struct group_files *f = &w->files[i];
    const struct budget_source *machine = &w->sources[0];
    char text[TEXT_BYTES];
    uint64_t limit = UINT64_MAX, high, used = 0;
    if (!s->limits && i == 1)
        read_text(f->stat, text); // the group's own: Linux 6.18 counts for those around it, too
    if (!s->limits && w->n_polls % POLLS_PER_NEW_LIMIT != 1)
        return; // those without limits are most, and stay it
    if (read_text(f->limit, text))
        parse_number(text, &limit);
    if (read_text(f->high, text) && parse_number(text, &high))
        limit = at_most(limit, high);
    // A limit beyond what the machine has never tells; not reading on makes looking cheap.
    s->limits = limit < NO_LIMIT && !(machine->limits && limit > machine->limit);
    if (!s->limits)
        return;
    if (read_text(f->usage, text))
        parse_number(text, &used);
    s->limit = limit;
    uint64_t cache = read_text(f->stat, text) ? group_cache(text, s->v2) : 0;
    s->used = less(used, group_cache_now(f, cache, s->v2));
    s->free = less(limit, s->used);
    s->floor = limit / 20;
}

// ---- which groups ------------------------------------------------------------------------------

static void add_group(struct budget_watch *w, const char *folder, const char *mount, bool v2)
{
    if (w->n_sources == BUDGET_MAX_SOURCES)
        return;
    struct group_files f = {
        .limit = open_at(w->root, folder, v2 ? "/memory.max" : "/memory.limit_in_bytes"),
        .high = v2 ? open_at(w->root, folder, "/memory.high") : -1,
    };
    if (f.limit < 0 && f.high < 0)
        return;
    f.usage = open_at(w->root, folder, v2 ? "/memory.current" : "/memory.usage_in_bytes");
    f.stat = open_at(w->root, folder, "/memory.stat");
    f.hits = open_at(w->root, folder, v2 ? "/memory.events" : "/memory.failcnt");
    struct budget_source *s = &w->sources[w->n_sources];
    *s = (struct budget_source){.v2 = v2};
    const char *name = folder + strlen(mount);
    snprintf(s->name, sizeof s->name, "the control group %s", *name ? name : "/");
    snprintf(s->folder, sizeof s->folder, "%s", folder);
    w->files[w->n_sources++] = f;
}

// The group and all those around it.
static void add_groups(struct budget_watch *w, const char *mount, const char *group, bool v2)
{
    char folder[PATH_BYTES];
    int n = snprintf(folder, sizeof folder, "%s%s", mount, strstr(group, "..") ? "" : group);
    if (n < 0 || (size_t)n >= sizeof folder)
        return;
    while (n > 0 && folder[n - 1] == '/')
        folder[--n] = 0;
    for (int i = 0; i < MAX_NESTING; i++) {
        add_group(w, folder, mount, v2);
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < strlen(mount))
            break;
        *slash = 0;
    }
}

// Lines of /proc/self/cgroup: ID:CONTROLLERS:PATH, version 2 with an empty list.
static void open_groups(struct budget_watch *w)
{
    char text[TEXT_BYTES], *rest = text;
    memcpy(text, w->groups, sizeof text);
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        if (!*controllers) {
            add_groups(w, "/sys/fs/cgroup", path, true);
            add_groups(w, "/sys/fs/cgroup/unified", path, true); // both versions side by side
        } else if (strstr(controllers, "memory")) {
            add_groups(w, "/sys/fs/cgroup/memory", path, false);
        }
    }
}

static void close_file(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void close_groups(struct budget_watch *w)
{
    for (int i = 1; i < w->n_sources; i++) {
        close_file(w->files[i].limit);
        close_file(w->files[i].high);
        close_file(w->files[i].usage);
        close_file(w->files[i].stat);
        close_file(w->files[i].hits);
    }
    w->n_sources = 1;
}

// ---- the watch ---------------------------------------------------------------------------------

struct budget_watch *budget_watch_open(const char *root)
{
    struct budget_watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    snprintf(w->root, sizeof w->root, "%s", root);
    snprintf(w->sources[0].name, sizeof w->sources[0].name, "the machine");
    w->n_sources = 1;
    w->meminfo = open_at(root, "/proc", "/meminfo");
    w->membership = open_at(root, "/proc", "/self/cgroup");
    return w;
}

void budget_watch_close(struct budget_watch *w)
{
    if (!w)
        return;
    close_groups(w);
    close_file(w->meminfo);
    close_file(w->membership);
    free(w);
}

bool budget_watch_poll(struct budget_watch *w)
{
    bool changed = w->n_polls == 0;
    if (w->n_polls++ % POLLS_PER_MEMBERSHIP == 0) {
        char groups[TEXT_BYTES];
        read_text(w->membership, groups);
        if (changed || strcmp(groups, w->groups) != 0) {
            memcpy(w->groups, groups, sizeof groups);
            close_groups(w);
            open_groups(w);
            changed = true;
        }
    }
    poll_machine(w);
    for (int i = 1; i < w->n_sources; i++)
        poll_group(w, i);
    return changed;
}

int budget_watch_sources(const struct budget_watch *w, const struct budget_source **out)
{
    *out = w->sources;
    return w->n_sources;
}

// ---- one look ----------------------------------------------------------------------------------

static uint64_t free_of(const struct budget_source *s)
{
    return s->free;
}

// Where little is free, a part of it all the same: a small model shall run on a small machine.
enum { LEAST_SHARE = 4 };

static uint64_t free_to_breathe(const struct budget_source *s)
{
    uint64_t breathing = less(s->free, 2 * s->floor), least = s->free / LEAST_SHARE;
    return breathing > least ? breathing : least;
}

static uint64_t limit_of(const struct budget_source *s)
{
    return s->limit;
}

static uint64_t least(const char *root, uint64_t (*of)(const struct budget_source *))
{
    struct budget_watch *w = budget_watch_open(root);
    uint64_t bytes = UINT64_MAX;
    if (!w)
        return 0; // not even this much memory
    budget_watch_poll(w);
    for (int i = 0; i < w->n_sources; i++)
        if (w->sources[i].limits)
            bytes = at_most(bytes, of(&w->sources[i]));
    budget_watch_close(w);
    return bytes;
}

uint64_t budget_available(const char *root)
{
    return least(root, free_of);
}

uint64_t budget_automatic(const char *root)
{
    return least(root, free_to_breathe);
}

uint64_t budget_total(const char *root)
{
    return least(root, limit_of);
}
