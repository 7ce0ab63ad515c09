// A pass round the ring as text: see gantt.h. Each node's line is a row of columns; each slice of
// time adds what it takes of every column that it touches, and the largest share is drawn.
#include "app/gantt.h"

#include "app/round_slices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_COLUMNS = 10 }; // of the scale, at least

static const char *const marks[2][SLICE_KINDS] = {
    {[SLICE_RECEIVE] = "-", [SLICE_COMPUTE] = "#", [SLICE_WAIT] = ".", [SLICE_SEND] = "="},
    {[SLICE_RECEIVE] = "╌", [SLICE_COMPUTE] = "█", [SLICE_WAIT] = "░", [SLICE_SEND] = "━"},
};

struct chart {
    FILE *out;
    int left, width; // columns of names and of time
    double total_us;
    const char *const *marks;
    double (*share)[SLICE_KINDS]; // (width) of the line at hand
};

static void add_slice(void *ctx, const struct slice *s)
{
    struct chart *c = ctx;
    double scale = c->width / c->total_us;
    double from = s->from_us < 0 ? 0 : s->from_us * scale, to = s->to_us * scale;
    to = to > c->width ? c->width : to;
    for (int i = (int)from; i < c->width && i < to; i++)
        c->share[i][s->kind] += fmin(to, i + 1.0) - fmax(from, i);
}

// What is blank at the end of a line is left out.
static void print_line(struct chart *c)
{
    int blank = 0;
    for (int i = 0; i < c->width; i++) {
        int most = 0;
        for (int k = 1; k < SLICE_KINDS; k++)
            if (c->share[i][k] > c->share[i][most])
                most = k;
        if (!(c->share[i][most] > 0)) {
            blank++;
            continue;
        }
        fprintf(c->out, "%*s%s", blank, "", c->marks[most]);
        blank = 0;
    }
    fputc('\n', c->out);
}

struct unit {
    double us;
    const char *name;
};

static struct unit unit_of(double total_us)
{
    return total_us < 1e3   ? (struct unit){1, "us"}
           : total_us < 1e7 ? (struct unit){1e3, "ms"}
                            : (struct unit){1e6, "s"};
}

// 1, 2 or 5 times a power of ten, so that a label has room.
static double step_of(double total, int width)
{
    double least = total * LABEL_COLUMNS / width, step = pow(10, floor(log10(least)));
    return step >= least       ? step
           : 2 * step >= least ? 2 * step
           : 5 * step >= least ? 5 * step
                               : 10 * step;
}

static void print_scale(const struct chart *c)
{
    struct unit u = unit_of(c->total_us);
    double total = c->total_us / u.us, step = step_of(total, c->width);
    int at = 0;
    fprintf(c->out, "%*s", c->left, "");
    for (int i = 0; i * step <= total; i++) {
        char label[32];
        int column = (int)(i * step / total * c->width);
        int n = snprintf(label, sizeof label, i ? "%.6g" : "%.6g %s", i * step, u.name);
        if (column + n > c->width)
            break;
        fprintf(c->out, "%*s%s", column - at, "", label);
        at = column + n;
    }
    fprintf(c->out, "\n%*s%s receive  %s compute  %s disk wait  %s send\n", c->left, "",
            c->marks[SLICE_RECEIVE], c->marks[SLICE_COMPUTE], c->marks[SLICE_WAIT],
            c->marks[SLICE_SEND]);
}

static void name_of(char *out, size_t size, const char (*names)[WIRE_NAME], int node, int n_nodes)
{
    snprintf(out, size, "%d %.*s%s", node + 1, WIRE_NAME, names[node],
             node == n_nodes - 1 ? " (head)" : "");
}

static void print_chart(struct chart *c, const struct timings_trace *t,
                        const struct timings_pass *p, const char (*names)[WIRE_NAME])
{
    struct unit u = unit_of(c->total_us);
    char name[64];
    double total = c->total_us / u.us;
    if (p->n_tokens == 1)
        fputs("one token", c->out);
    else
        fprintf(c->out, "%d tokens", p->n_tokens);
    fprintf(c->out, total < 100 ? " in %.3g %s\n" : " in %.0f %s\n", total, u.name);
    for (int m = 0; m < t->n_nodes; m++) {
        memset(c->share, 0, (size_t)c->width * sizeof *c->share);
        slices_of(t, p, m, add_slice, c);
        name_of(name, sizeof name, names, m, t->n_nodes);
        fprintf(c->out, "%-*s", c->left, name);
        print_line(c);
    }
    print_scale(c);
}

char *gantt_text(const struct timings_trace *t, const struct timings_pass *p,
                 const char (*names)[WIRE_NAME], const struct gantt_look *look)
{
    char *text = NULL, name[64];
    size_t size;
    int columns = look->columns < GANTT_MIN_COLUMNS   ? GANTT_MIN_COLUMNS
                  : look->columns > GANTT_MAX_COLUMNS ? GANTT_MAX_COLUMNS
                                                      : look->columns;
    struct chart c = {.marks = marks[look->utf8], .total_us = slices_end_us(t, p)};
    for (int m = 0; m < t->n_nodes; m++) {
        name_of(name, sizeof name, names, m, t->n_nodes);
        int n = (int)strlen(name) + 1;
        c.left = n > c.left ? n : c.left;
    }
    c.left = c.left > columns / 2 ? columns / 2 : c.left;
    c.width = columns - c.left - 1;
    if (!(c.total_us > 0))
        return NULL;
    c.share = calloc((size_t)c.width, sizeof *c.share);
    c.out = c.share ? open_memstream(&text, &size) : NULL;
    if (c.out) {
        print_chart(&c, t, p, names);
        if (fclose(c.out)) {
            free(text);
            text = NULL;
        }
    }
    free(c.share);
    return text;
}
