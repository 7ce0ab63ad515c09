// Help texts: see help.h. Everything is wrapped at LINE columns; the right column of a list starts
// at VERB_COLUMN or OPTION_COLUMN.
#include "app/help.h"

#include <string.h>

enum { LINE = 80, VERB_COLUMN = 14, OPTION_COLUMN = 26 };

// Prints words from column `at` on, continuing lines at `indent`. A newline in the text stays one.
void help_wrap(FILE *f, const char *text, int at, int indent)
{
    bool first = true;
    while (*text) {
        size_t length = strcspn(text, " \n");
        if (!first && at + 1 + (int)length > LINE) {
            fprintf(f, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        fprintf(f, "%s%.*s", first || !length ? "" : " ", (int)length, text);
        at += (int)length + (first ? 0 : 1);
        first = false;
        text += length;
        if (*text == '\n') {
            fprintf(f, "\n%*s", text[1] && text[1] != '\n' ? indent : 0, "");
            at = indent;
            first = true;
        }
        text += *text ? 1 : 0;
    }
    fputc('\n', f);
}

static void entry(FILE *f, int column, const char *left, const char *right)
{
    int at = fprintf(f, "  %s", left);
    if (at + 2 > column) {
        fputc('\n', f);
        at = 0;
    }
    fprintf(f, "%*s", column - at, "");
    help_wrap(f, right, column, column);
}

static void option_entry(FILE *f, const struct verb_option *o)
{
    const struct option_spec *s = &option_table[o->id];
    char left[160], right[512];
    size_t n = s->letter ? (size_t)snprintf(left, sizeof left, "-%c, --%s", s->letter, s->name)
                         : (size_t)snprintf(left, sizeof left, "    --%s", s->name);
    if (s->type == OPTION_ENUM) {
        for (int i = 0; s->names[i] && n < sizeof left; i++)
            n += (size_t)snprintf(left + n, sizeof left - n, "%c%s", i ? '|' : ' ', s->names[i]);
    } else if (s->type != OPTION_FLAG) {
        snprintf(left + n, sizeof left - n, " %s", s->value);
    }
    snprintf(right, sizeof right, o->initial ? "%s (%s)" : "%s", s->help, o->initial);
    entry(f, OPTION_COLUMN, left, right);
}

void help_verb(FILE *f, const struct verb *v)
{
    static const struct verb_option log_level = {OPT_LOG_LEVEL, "warn"}, help = {OPT_HELP, NULL};
    fprintf(f, "rondo %s: %s\n\nUsage: rondo %s%s%s [OPTION...]\n\n", v->name, v->summary, v->name,
            *v->usage ? " " : "", v->usage);
    if (v->text) {
        help_wrap(f, v->text, 0, 0);
        fputc('\n', f);
    }
    fputs("Options (in brackets what is taken without them):\n", f);
    for (const struct verb_option *o = v->options; o && o->id != OPT_END; o++)
        option_entry(f, o);
    option_entry(f, &log_level);
    option_entry(f, &help);
    fputc('\n', f);
    help_wrap(
        f,
        "Options can also be set in the environment: RONDO_LOG_LEVEL=info is --log-level info. "
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a machine cannot be reached, 4 not enough "
        "memory or context, 5 not allowed.",
        0, 0);
}

void help_program(FILE *f)
{
    static const struct verb_option help = {OPT_HELP, NULL}, version = {OPT_VERSION, NULL};
    fputs("Rondo runs one language model on the machines of a home.\n\n"
          "Usage: rondo VERB [ARGUMENT...] [OPTION...]\n\n",
          f);
    for (int i = 0; verbs[i]; i++)
        entry(f, VERB_COLUMN, verbs[i]->name, verbs[i]->summary);
    entry(f, VERB_COLUMN, "help", "explain a verb: rondo help VERB");
    fputc('\n', f);
    option_entry(f, &help);
    option_entry(f, &version);
    fputs("\nTry: rondo run demo \"Tell me a story about a rabbit and an umbrella.\"\n", f);
}
