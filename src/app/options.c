// Parsing of the command line and the environment by the option table: see options.h.
#include "app/options.h"

#include "base/check.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Every verb takes these.
static const struct verb_option common[] = {
    {OPT_HELP, NULL}, {OPT_LOG_LEVEL, "warn"}, {OPT_END, NULL}};

enum { NAME_BYTES = 64, MAX_NEAREST = 64, SHOWN_BYTES = 80 };

void options_variable(const struct option_spec *s, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "RONDO_%s", s->name);
    for (size_t i = 0; i < n && i < size; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

// Letters to change, add, leave out or swap with their neighbour: optimal string alignment, three
// rows at a time. Words longer than NAME_BYTES are far from everything.
static int distance(const char *a, const char *b)
{
    int n = (int)strlen(b), rows[3][NAME_BYTES + 1];
    int *above = rows[0], *row = rows[1], *next = rows[2];
    if (n > NAME_BYTES || strlen(a) > NAME_BYTES)
        return NAME_BYTES;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        next[0] = i;
        for (int j = 1; j <= n; j++) {
            next[j] = least(row[j - 1] + (a[i - 1] != b[j - 1]), 1 + least(row[j], next[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                next[j] = least(next[j], above[j - 2] + 1);
        }
        int *oldest = above;
        above = row;
        row = next;
        next = oldest;
    }
    return row[n];
}

const char *options_nearest(const char *word, const char *const *candidates, int n)
{
    const char *best = NULL;
    int length = (int)strlen(word),
        limit = length < 4   ? 1
                : length < 8 ? 2
                             : 3,
        nearest = limit + 1;
    for (int i = 0; i < n; i++) {
        int d = distance(word, candidates[i]);
        bool begins = length >= 3 && !strncmp(word, candidates[i], (size_t)length);
        if (begins && d > limit)
            d = limit; // an abbreviation
        if (d < nearest) {
            nearest = d;
            best = candidates[i];
        }
    }
    return best;
}

const struct verb *verb_find(const char *name)
{
    for (int i = 0; verbs[i]; i++)
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    return NULL;
}

// Printable form of a piece of the command line, in one of four static buffers.
static const char *shown(const char *text)
{
    static char out[4][SHOWN_BYTES];
    static int next;
    next = (next + 1) % 4;
    size_t length = strlen(text);
    return err_quote(out[next], SHOWN_BYTES, text,
                     length > SHOWN_BYTES ? SHOWN_BYTES : (int)length);
}

static int out_of_range(const struct option_spec *s, const char *label, const char *text,
                        struct err *e)
{
    return err_set(e, ERR_USAGE, "%s %s is out of range; it goes from %.15g to %.15g", label,
                   shown(text), s->min, s->max);
}

static int parse_flag(struct option_value *v, const char *label, const char *text, struct err *e)
{
    static const char *const words[] = {"no", "yes", "0", "1", "off", "on", "false", "true"};
    for (int i = 0; i < 8; i++) {
        if (!strcmp(text, words[i])) {
            v->integer = i % 2;
            return 0;
        }
    }
    return err_set(e, ERR_USAGE, "%s is on or off; it cannot be '%s'", label, shown(text));
}

static int parse_int(struct option_value *v, const struct option_spec *s, const char *label,
                     const char *text, struct err *e)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end || isspace((unsigned char)*text))
        return err_set(e, ERR_USAGE, "%s wants a whole number, not '%s'", label, shown(text));
    if (errno || (double)n < s->min || (double)n > s->max)
        return out_of_range(s, label, text, e);
    v->integer = n;
    return 0;
}

static int parse_float(struct option_value *v, const struct option_spec *s, const char *label,
                       const char *text, struct err *e)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)*text) || isnan(x))
        return err_set(e, ERR_USAGE, "%s wants a number, not '%s'", label, shown(text));
    if (x < s->min || x > s->max)
        return out_of_range(s, label, text, e);
    v->number = x;
    return 0;
}

bool options_read_size(const char *text, double *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    double x = strtod(text, &end);
    bool number = end != text && !isspace((unsigned char)*text) && isfinite(x);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        x = ldexp(x, 10 * (int)(unit - units + 1));
        end++;
        end += *end == 'i' && end[1] ? 1 : 0;
    }
    end += *end == 'B';
    *bytes = x;
    return number && !*end;
}

static int parse_size(struct option_value *v, const struct option_spec *s, const char *label,
                      const char *text, struct err *e)
{
    double x;
    if (!options_read_size(text, &x))
        return err_set(e, ERR_USAGE, "%s wants a size such as 512M or 2G, not '%s'", label,
                       shown(text));
    if (x < s->min || x > s->max)
        return out_of_range(s, label, text, e);
    v->integer = (int64_t)x;
    return 0;
}

static int parse_enum(struct option_value *v, const struct option_spec *s, const char *label,
                      const char *text, struct err *e)
{
    char list[256] = "";
    for (int i = 0; s->names[i]; i++) {
        if (!strcmp(text, s->names[i])) {
            v->integer = i;
            return 0;
        }
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", s->names[i]);
    }
    return err_set(e, ERR_USAGE, "%s cannot be '%s'; it is one of %s", label, shown(text), list);
}

// Numbers are checked here and read again by options_list.
static int parse_list(struct option_value *v, const struct option_spec *s, const char *label,
                      const char *text, struct err *e)
{
    char number[NAME_BYTES];
    int n = 0;
    v->text = text;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        struct option_value one;
        if (!length || length >= sizeof number)
            return err_set(e, ERR_USAGE,
                           "%s wants whole numbers with commas between, as in 128,512, not '%s'",
                           label, shown(text));
        memcpy(number, at, length);
        number[length] = 0;
        if (parse_int(&one, s, label, number, e))
            return ERR_USAGE;
        if (++n > OPTION_LIST_MAX)
            return err_set(e, ERR_USAGE, "%s takes %d numbers at most", label, OPTION_LIST_MAX);
        at += length;
        if (!*at)
            return 0;
    }
}

static int parse_value(struct option_value *v, const struct option_spec *s, const char *label,
                       const char *text, struct err *e)
{
    int rc = 0;
    switch (s->type) {
    case OPTION_FLAG:
        rc = parse_flag(v, label, text, e);
        break;
    case OPTION_INT:
        rc = parse_int(v, s, label, text, e);
        break;
    case OPTION_FLOAT:
        rc = parse_float(v, s, label, text, e);
        break;
    case OPTION_SIZE:
        rc = parse_size(v, s, label, text, e);
        break;
    case OPTION_STRING:
        if (!*text)
            rc = err_set(e, ERR_USAGE, "%s wants a value that is not empty", label);
        v->text = text;
        break;
    case OPTION_ENUM:
        rc = parse_enum(v, s, label, text, e);
        break;
    case OPTION_LIST:
        rc = parse_list(v, s, label, text, e);
        break;
    }
    v->set = !rc;
    return rc;
}

// Initial values and the environment.
static int prepare(struct options *o, const struct verb_option *list, struct err *e)
{
    for (; list->id != OPT_END; list++) {
        const struct option_spec *s = &option_table[list->id];
        struct option_value *v = &o->value[list->id];
        char variable[NAME_BYTES];
        v->known = true;
        if (list->initial)
            CHECK(!parse_value(v, s, s->name, list->initial, NULL));
        else if (s->type == OPTION_FLAG)
            v->set = true;
        if (list->id == OPT_HELP || list->id == OPT_VERSION)
            continue; // asked for, never configured
        options_variable(s, variable, sizeof variable);
        const char *text = getenv(variable);
        if (!text || !*text)
            continue;
        if (parse_value(v, s, variable, text, e))
            return ERR_USAGE;
        v->given = true;
    }
    return 0;
}

static int unknown_option(const struct options *o, const struct verb *verb, const char *argument,
                          const char *name, struct err *e)
{
    const char *names[OPT_COUNT];
    int n = 0;
    for (int i = 0; i < OPT_COUNT; i++)
        if (o->value[i].known)
            names[n++] = option_table[i].name;
    const char *near = *name ? options_nearest(name, names, n) : NULL;
    if (near)
        return err_set(e, ERR_USAGE, "unknown option %s; did you mean --%s?", shown(argument),
                       near);
    return err_set(e, ERR_USAGE, "unknown option %s; 'rondo help%s%s' lists what there is",
                   shown(argument), *verb->name ? " " : "", verb->name);
}

static enum option_id find_long(const struct options *o, const char *name, size_t length)
{
    for (int i = 1; i < OPT_COUNT; i++)
        if (o->value[i].known && strlen(option_table[i].name) == length &&
            !memcmp(option_table[i].name, name, length))
            return (enum option_id)i;
    return OPT_END;
}

static enum option_id find_letter(const struct options *o, char letter)
{
    for (int i = 1; i < OPT_COUNT; i++)
        if (o->value[i].known && letter && option_table[i].letter == letter)
            return (enum option_id)i;
    return OPT_END;
}

// One option at argv[0]; returns how many arguments it took, or an error.
static int take(struct options *o, const struct verb *verb, int argc, char **argv, struct err *e)
{
    const char *argument = argv[0], *text = NULL;
    bool is_long = argument[1] == '-';
    enum option_id id;
    int used = 1;
    if (is_long) {
        size_t length = strcspn(argument + 2, "=");
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%.*s", (int)(length < NAME_BYTES ? length : NAME_BYTES),
                 argument + 2);
        id = find_long(o, argument + 2, length);
        text = argument[2 + length] ? argument + 2 + length + 1 : NULL;
        if (id == OPT_END)
            return unknown_option(o, verb, argument, name, e);
    } else {
        id = find_letter(o, argument[1]);
        text = argument[2] ? argument + 2 : NULL;
        if (id == OPT_END)
            return unknown_option(o, verb, argument, "", e);
    }
    const struct option_spec *s = &option_table[id];
    char label[NAME_BYTES + 4];
    if (is_long)
        snprintf(label, sizeof label, "--%s", s->name);
    else
        snprintf(label, sizeof label, "-%c", s->letter);
    if (!text && s->type == OPTION_FLAG)
        text = "yes";
    if (!text) {
        if (argc < 2)
            return err_set(e, ERR_USAGE, "%s wants a value behind it", label);
        text = argv[1];
        used = 2;
    }
    if (parse_value(&o->value[id], s, label, text, e))
        return ERR_USAGE;
    o->value[id].given = o->value[id].typed = true;
    return used;
}

int options_parse(struct options *o, const struct verb *v, int argc, char **argv, struct err *e)
{
    bool only_operands = false;
    *o = (struct options){.args = calloc((size_t)argc + 1, sizeof *o->args)};
    if (!o->args)
        return err_set(e, ERR_NO_MEMORY, "out of memory");
    if (prepare(o, common, e) || (v->options && prepare(o, v->options, e)))
        return ERR_USAGE;
    for (int i = 0; i < argc;) {
        if (only_operands || argv[i][0] != '-' || !argv[i][1]) {
            o->args[o->n_args++] = argv[i++];
        } else if (!strcmp(argv[i], "--")) {
            only_operands = true;
            i++;
        } else {
            int used = take(o, v, argc - i, argv + i, e);
            if (used < 0)
                return used;
            i += used;
        }
        if (options_flag(o, OPT_HELP))
            return 0;
    }
    if (o->n_args < v->min_args)
        return err_set(e, ERR_USAGE, "wanted: rondo %s %s; see 'rondo help %s'", v->name, v->usage,
                       v->name);
    if (o->n_args > v->max_args)
        return err_set(e, ERR_USAGE,
                       "'%s' is one argument too many; text with spaces needs quotes, see "
                       "'rondo help %s'",
                       shown(o->args[v->max_args]), v->name);
    return 0;
}

int options_change(struct options *o, enum option_id id, const char *label, const char *text,
                   struct err *e)
{
    struct option_value *v = &o->value[id], next = *v;
    CHECK(v->known);
    if (!text)
        next.set = next.given = next.typed = false;
    else if (parse_value(&next, &option_table[id], label, text, e))
        return ERR_USAGE;
    else
        next.given = true;
    *v = next;
    return 0;
}

void options_free(struct options *o)
{
    free(o->args);
    *o = (struct options){0};
}

static const struct option_value *value_of(const struct options *o, enum option_id id, bool right)
{
    CHECK(right && o->value[id].known);
    return &o->value[id];
}

bool options_given(const struct options *o, enum option_id id)
{
    return value_of(o, id, true)->given;
}

bool options_typed(const struct options *o, enum option_id id)
{
    return value_of(o, id, true)->typed;
}

bool options_flag(const struct options *o, enum option_id id)
{
    return value_of(o, id, option_table[id].type == OPTION_FLAG)->integer != 0;
}

int64_t options_int(const struct options *o, enum option_id id)
{
    enum option_type type = option_table[id].type;
    const struct option_value *v = value_of(o, id, type == OPTION_INT || type == OPTION_SIZE);
    CHECK(v->set);
    return v->integer;
}

double options_float(const struct options *o, enum option_id id)
{
    const struct option_value *v = value_of(o, id, option_table[id].type == OPTION_FLOAT);
    CHECK(v->set);
    return v->number;
}

const char *options_text(const struct options *o, enum option_id id)
{
    const struct option_value *v = value_of(o, id, option_table[id].type == OPTION_STRING);
    return v->set ? v->text : NULL;
}

int options_enum(const struct options *o, enum option_id id)
{
    const struct option_value *v = value_of(o, id, option_table[id].type == OPTION_ENUM);
    CHECK(v->set);
    return (int)v->integer;
}

int options_list(const struct options *o, enum option_id id, int *out)
{
    const struct option_value *v = value_of(o, id, option_table[id].type == OPTION_LIST);
    int n = 0;
    for (const char *at = v->set ? v->text : ""; *at; at += *at == ',') {
        char *end;
        out[n++] = (int)strtol(at, &end, 10);
        at = end;
    }
    return n;
}

const char *options_arg(const struct options *o, int i)
{
    return i < o->n_args ? o->args[i] : NULL;
}
