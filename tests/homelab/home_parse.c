// Parses a description file (home.h). It is read word by word; a value is a number with its unit,
// or a word. Everything wrong is said with its line, and nothing is taken silently: no unknown key,
// no key twice in a line, no number that does not fit.
#include "homelab/home.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WORD_BYTES = 64 };

struct reader {
    const char *name, *at, *end;
    int line;
    struct err *e;
};

struct unit {
    const char *name;
    double factor;
};

static const struct unit sizes[] = {
    {"B", 1},      {"kB", 1e3},      {"MB", 1e6},         {"GB", 1e9},
    {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {0}};
static const struct unit disk_rates[] = {
    {"kB/s", 1e3}, {"MB/s", 1e6}, {"GB/s", 1e9}, {"MiB/s", 1048576}, {"GiB/s", 1.073741824e9}, {0}};
static const struct unit link_rates[] = {{"kbit/s", 1e3}, {"Mbit/s", 1e6}, {"Gbit/s", 1e9}, {0}};
static const struct unit times[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {0}};
static const struct unit shares[] = {{"%", 0.01}, {0}};
static const struct unit counts[] = {{"", 1}, {0}};

static int fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct reader *r, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(r->e, ERR_USAGE, "%s:%d: %s", r->name, r->line, text);
}

// The next word of the line: 1, or 0 at its end. Bytes that no word may have are an error.
static int next_word(struct reader *r, char word[WORD_BYTES])
{
    size_t n = 0;
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
    if (r->at < r->end && *r->at == '#')
        while (r->at < r->end && *r->at != '\n')
            r->at++;
    while (r->at < r->end && !strchr(" \t\r\n#", *r->at)) {
        if (*r->at < 0x21 || *r->at > 0x7e)
            return fail(r,
                        "there is a byte that is no printable ASCII; a description is plain text");
        if (n == WORD_BYTES - 1)
            return fail(r, "'%.20s...' is too long for a word; %d characters are the most", word,
                        WORD_BYTES - 1);
        word[n++] = *r->at++;
        word[n] = 0;
    }
    if (r->at < r->end && !*r->at)
        return fail(r, "there is a byte that is no printable ASCII; a description is plain text");
    return n > 0;
}

static int wanted_word(struct reader *r, const char *after, char word[WORD_BYTES])
{
    int rc = next_word(r, word);
    return rc ? (rc < 0 ? rc : 0) : fail(r, "a value is missing after '%s'", after);
}

// Digits with a fraction at most; where they end in *rest.
static bool read_number(const char *word, double *out, const char **rest)
{
    double value = 0, scale = 1;
    int digits = 0;
    const char *p = word;
    for (; *p >= '0' && *p <= '9'; p++, digits++)
        value = value * 10 + (*p - '0');
    if (*p == '.' && digits)
        for (p++; *p >= '0' && *p <= '9'; p++, digits++)
            value += (*p - '0') * (scale /= 10);
    *out = value;
    *rest = p;
    return digits > 0 && digits <= 15;
}

static int list_units(char *out, size_t size, const struct unit *units)
{
    int n = 0;
    for (const struct unit *u = units; u->name && (size_t)n < size; u++)
        n += snprintf(out + n, size - (size_t)n, "%s%s",
                      u == units  ? ""
                      : u[1].name ? ", "
                                  : " or ",
                      u->name);
    return n;
}

// A number with one of the units, at least `least` and at most `most` in the first unit's terms.
static int read_quantity(struct reader *r, const char *key, const char *word,
                         const struct unit *units, double least, double most, double *out)
{
    const char *rest;
    char list[100];
    if (!strcmp(word, "unlimited") || !strcmp(word, "none")) {
        *out = 0;
        return 0;
    }
    if (!read_number(word, out, &rest))
        return fail(r, "'%s' is no value for %s; it wants a number%s", word, key,
                    *units->name ? " with a unit" : "");
    for (const struct unit *u = units; u->name; u++) {
        if (strcmp(u->name, rest))
            continue;
        *out *= u->factor;
        if (*out >= least && *out <= most)
            return 0;
        return fail(r, "%s %s is out of range; %s", key, word,
                    *out < least ? "it is too little, and 'none' stands for nothing at all"
                                 : "it is too much for anything that a home has");
    }
    list_units(list, sizeof list, units);
    if (!*units->name)
        return fail(r, "'%s' is no value for %s; it wants a number without a unit", word, key);
    return fail(r, "'%s' is no value for %s; it wants a number with a unit (%s) right behind it",
                word, key, list);
}

static int read_name(struct reader *r, const char *what, const char *word,
                     char out[HOME_NAME_BYTES])
{
    size_t n = strlen(word);
    bool fine = n && n < HOME_NAME_BYTES && *word != '-';
    for (size_t i = 0; i < n; i++)
        fine &= strchr("abcdefghijklmnopqrstuvwxyz0123456789-", word[i]) != NULL;
    if (!fine)
        return fail(r, "'%s' is no name for %s; up to %d small letters, digits and hyphens are",
                    word, what, HOME_NAME_BYTES - 1);
    memcpy(out, word, n + 1);
    return 0;
}

static int read_outage(struct reader *r, const char *word, struct home_link *l)
{
    char every[WORD_BYTES], period[WORD_BYTES];
    double outage_us, period_us = 0;
    int rc = read_quantity(r, "outage", word, times, 1e3, 1e11, &outage_us);
    if (!rc && outage_us > 0) {
        if ((rc = wanted_word(r, word, every)))
            return rc;
        if (strcmp(every, "every"))
            return fail(r, "an outage wants its period, as in 'outage 2s every 30s'");
        if (!(rc = wanted_word(r, every, period)))
            rc = read_quantity(r, "outage", period, times, 1e3, 1e11, &period_us);
        if (!rc && period_us <= outage_us)
            return fail(r, "an outage of %s every %s leaves no time in which the link works", word,
                        period);
    }
    if (!rc) {
        l->outage_us = (int64_t)outage_us;
        l->period_us = (int64_t)period_us;
    }
    return rc;
}

// The rest of the keys: those of the machine itself.
static int read_machine(struct reader *r, const char *key, const char *word, struct home_node *node)
{
    double value = 0;
    int rc;
    if (!strcmp(key, "memory")) {
        rc = read_quantity(r, key, word, sizes, 1048576, 1e15, &value);
        node->memory_bytes = rc ? 0 : (uint64_t)value;
    } else if (!strcmp(key, "cpu")) {
        rc = read_quantity(r, key, word, counts, 0.01, 1024, &node->cpu);
    } else if (!strcmp(key, "cpus")) {
        rc = read_quantity(r, key, word, counts, 1, 1024, &value);
        node->cpus = rc ? 0 : (int)value;
    } else if (!strcmp(key, "threads")) {
        rc = read_quantity(r, key, word, counts, 1, 1024, &value);
        node->threads = rc ? 0 : (int)value;
    } else if (!strcmp(key, "disk")) {
        rc = read_quantity(r, key, word, disk_rates, 1e5, 1e13, &value);
        node->disk_bps = rc ? 0 : (uint64_t)value;
    } else if (!strcmp(key, "model")) {
        node->shares_model = !strcmp(word, "shared");
        return node->shares_model || !strcmp(word, "own")
                   ? 0
                   : fail(r, "'%s' is no value for model; it is own or shared", word);
    } else {
        return fail(r,
                    "'%s' is no key; there are memory, cpu, cpus, threads, disk, model, rate, "
                    "delay, jitter, loss, outage and air",
                    key);
    }
    if (!rc && (!strcmp(key, "cpus") || !strcmp(key, "threads")) && value != floor(value))
        return fail(r, "'%s' is no value for %s; it wants a whole number", word, key);
    return rc;
}

static int read_value(struct reader *r, const char *key, const char *word, struct home_node *node)
{
    struct home_link *l = &node->link;
    double value = 0;
    int rc;
    if (!strcmp(key, "rate")) {
        rc = read_quantity(r, key, word, link_rates, 8e3, 1e12, &value);
        l->rate_bps = rc ? 0 : (uint64_t)value;
    } else if (!strcmp(key, "delay")) {
        rc = read_quantity(r, key, word, times, 1, 6e7, &value);
        l->delay_us = rc ? 0 : (int64_t)value;
    } else if (!strcmp(key, "jitter")) {
        rc = read_quantity(r, key, word, times, 1, 6e7, &value);
        l->jitter_us = rc ? 0 : (int64_t)value;
    } else if (!strcmp(key, "loss")) {
        rc = read_quantity(r, key, word, shares, 1e-9, 0.9, &l->loss);
    } else if (!strcmp(key, "outage")) {
        rc = read_outage(r, word, l);
    } else if (!strcmp(key, "air")) {
        *l->air = 0;
        rc = strcmp(word, "none") ? read_name(r, "air", word, l->air) : 0;
    } else {
        rc = read_machine(r, key, word, node);
    }
    return rc;
}

// Pairs up to the end of the line.
static int read_pairs(struct reader *r, struct home_node *node)
{
    char keys[16][WORD_BYTES], word[WORD_BYTES];
    int n = 0, rc;
    while ((rc = next_word(r, keys[n])) > 0) {
        for (int i = 0; i < n; i++)
            if (!strcmp(keys[i], keys[n]))
                return fail(r, "%s is there twice", keys[n]);
        if ((rc = wanted_word(r, keys[n], word)) || (rc = read_value(r, keys[n], word, node)))
            return rc;
        n++; // never more than there are keys: others are refused
    }
    return rc;
}

static int check_node(struct reader *r, const struct home_node *node)
{
    const struct home_link *l = &node->link;
    if (l->jitter_us > l->delay_us)
        return fail(r,
                    "the jitter of %s is more than its delay; frames cannot arrive before they "
                    "are sent",
                    node->name);
    if (*l->air && !l->rate_bps)
        return fail(r, "%s has air but no rate; give it one, as in 'rate 300Mbit/s'", node->name);
    return 0;
}

static int read_line(struct reader *r, struct home *h, struct home_node *all)
{
    char word[WORD_BYTES], name[WORD_BYTES];
    int rc = next_word(r, word);
    if (rc <= 0)
        return rc;
    if (!strcmp(word, "all"))
        return read_pairs(r, all);
    if (strcmp(word, "node"))
        return fail(r, "'%s' begins no line; lines begin with node or all", word);
    if (h->n_nodes == HOME_MAX_NODES)
        return fail(r, "a home has %d nodes at most", HOME_MAX_NODES);
    struct home_node *node = &h->nodes[h->n_nodes];
    *node = *all;
    if ((rc = wanted_word(r, word, name)) || (rc = read_name(r, "a node", name, node->name)))
        return rc;
    if (!strcmp(name, "model") || !strcmp(name, "ip"))
        return fail(r, "'%s' is no name for a node; in a command it stands for something else",
                    name);
    if (home_find(h, name) >= 0)
        return fail(r, "there is a node %s already", name);
    if ((rc = read_pairs(r, node)) || (rc = check_node(r, node)))
        return rc;
    h->n_nodes++;
    return 0;
}

int home_parse(struct home *h, const char *name, const char *text, size_t size, struct err *e)
{
    struct reader r = {.name = name, .at = text, .end = text + size, .line = 1, .e = e};
    struct home_node all = {.threads = 1};
    *h = (struct home){0};
    if (size > HOME_MAX_BYTES)
        return err_set(e, ERR_USAGE,
                       "%s: this is no description of a home: it has more than %d KiB", name,
                       HOME_MAX_BYTES / 1024);
    for (; r.at < r.end; r.line++) {
        int rc = read_line(&r, h, &all);
        if (rc < 0)
            return rc;
        r.at += r.at < r.end; // the line's end
    }
    if (!h->n_nodes)
        return err_set(e, ERR_USAGE, "%s: no node in it; a line as 'node attic' makes one", name);
    return 0;
}

int home_read(struct home *h, const char *path, struct err *e)
{
    static char text[HOME_MAX_BYTES + 1];
    FILE *f = fopen(path, "r");
    if (!f)
        return err_errno(e, ERR_USAGE, "%s: cannot be opened", path);
    size_t n = fread(text, 1, sizeof text, f);
    bool failed = ferror(f);
    fclose(f);
    if (failed)
        return err_set(e, ERR_FAILED, "%s: cannot be read; is it a file?", path);
    return home_parse(h, path, text, n, e);
}

int home_find(const struct home *h, const char *name)
{
    for (int i = 0; i < h->n_nodes; i++)
        if (!strcmp(h->nodes[i].name, name))
            return i;
    return -1;
}

bool home_link_is_cable(const struct home_link *l)
{
    return !l->delay_us && !l->jitter_us && l->loss <= 0 && !l->outage_us && !*l->air;
}
