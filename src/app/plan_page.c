// A plan on the screen: see plan_page.h.
#include "app/plan_page.h"

#include "app/amounts.h"
#include "app/screen.h"
#include "app/sheet.h"
#include "app/terminal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LABEL = 10, NAME_MOST = 20, BAR = 32, WIDE = 120, ROUNDS_SHOWN = 8, MAP_LEAST = 20 };

struct plan_look plan_look_of_terminal(void)
{
    struct screen s;
    screen_init(&s);
    return (struct plan_look){.columns = s.terminal ? terminal_columns(STDOUT_FILENO) : WIDE,
                              .utf8 = terminal_utf8(),
                              .colours = s.dims};
}

void plan_page_time(char out[PLAN_TIME_TEXT], double seconds)
{
    if (seconds < 0.01)
        snprintf(out, PLAN_TIME_TEXT, "%.2f ms", seconds * 1e3);
    else if (seconds < 1)
        snprintf(out, PLAN_TIME_TEXT, "%.*f ms", seconds < 0.1 ? 1 : 0, seconds * 1e3);
    else
        snprintf(out, PLAN_TIME_TEXT, "%.*f s", seconds < 10 ? 2 : 1, seconds);
}

void plan_page_layers(char *out, size_t size, const struct plan *p, const struct plan_cluster *c)
{
    size_t used = 0;
    *out = 0;
    for (int i = 0; i < p->n_nodes && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s %d", i ? ", " : "",
                                 c->machines[p->nodes[i].machine].name, p->nodes[i].layers);
}

// ---- colours -----------------------------------------------------------------------------------

// A colour for each node, the same wherever it is named; the text stays readable without.
static void paint(const struct plan_look *look, int node)
{
    static const int codes[] = {36, 33, 32, 35, 34, 31, 96, 93, 92, 95, 94, 91};
    if (look->colours)
        printf("\033[%dm", codes[(size_t)node % (sizeof codes / sizeof *codes)]);
}

static void plain(const struct plan_look *look)
{
    if (look->colours)
        printf("\033[0m");
}

static char letter_of(int node)
{
    return (char)(node < 26 ? 'A' + node : 'a' + node - 26);
}

static const char *name_of(const struct plan *p, const struct plan_cluster *c, int node)
{
    return c->machines[p->nodes[node].machine].name;
}

static int name_columns(const struct plan *p, const struct plan_cluster *c)
{
    size_t most = 4;
    for (int i = 0; i < p->n_nodes; i++)
        if (strlen(name_of(p, c, i)) > most)
            most = strlen(name_of(p, c, i));
    return most < NAME_MOST ? (int)most : NAME_MOST;
}

// ---- what it promises --------------------------------------------------------------------------

static const char *what_for(const struct plan_ask *a)
{
    return a->layers_given     ? "nothing in particular: its layers were given"
           : a->throughput > 0 ? "tokens a second of all users (--objective throughput)"
           : !(a->first > 0)   ? "the time of each token (--objective latency)"
           : a->latency > 0    ? "whole answers, prompt and tokens (--objective answer)"
                               : "the time to the first token (--objective first)";
}

static void print_promise(const struct plan *p, const struct plan_setting *s)
{
    char weights[AMOUNT_BYTES], tpot[PLAN_TIME_TEXT], ttft[PLAN_TIME_TEXT];
    uint64_t bytes = 0;
    for (int i = 0; i < p->n_nodes; i++)
        bytes += p->nodes[i].weights;
    amount_size(weights, bytes);
    plan_page_time(tpot, p->tpot);
    plan_page_time(ttft, p->ttft);
    printf("%s: %d layers, %s of weights, context %d\n\n", s->model.name, s->model.n_layers,
           weights, s->ask.context);
    printf("a token       %s, %.1f tokens/s\n", tpot, 1 / p->tpot);
    printf("first token   %s after a prompt of %d tokens, in chunks of %d\n", ttft, s->ask.prompt,
           p->chunk);
    printf("best at       %s\n", what_for(&s->ask));
    if (s->ask.users > 1)
        printf("%d users%*s%.1f tokens/s together\n", s->ask.users,
               s->ask.users > 99  ? 5
               : s->ask.users > 9 ? 6
                                  : 7,
               "", p->throughput);
}

// ---- who runs which layers ---------------------------------------------------------------------

static void print_round(const struct plan *p, int round, const struct plan_look *look)
{
    char label[24];
    int left = LABEL + LABEL, at = 0, node = 0;
    int width = look->columns - left > MAP_LEAST ? look->columns - left : MAP_LEAST;
    const struct window_table *t = &p->table;
    snprintf(label, sizeof label, "round %d", round + 1);
    printf("%-*s%-*s", LABEL, round ? "" : "layers", LABEL, t->n_rounds > 1 ? label : "");
    for (int i = t->lo[round][0]; i < t->hi[round][p->n_nodes - 1]; i++, at++) {
        if (i == t->lo[round][0] || i >= t->hi[round][node]) {
            while (i >= t->hi[round][node])
                node++;
            paint(look, node);
        }
        if (at == width) {
            printf("\n%*s", left, "");
            at = 0;
        }
        putchar(letter_of(node));
    }
    plain(look);
    putchar('\n');
}

static void print_map(const struct plan *p, const struct plan_look *look)
{
    const int n = p->table.n_rounds;
    putchar('\n');
    for (int r = 0; r < n; r++)
        if (n <= ROUNDS_SHOWN || r < ROUNDS_SHOWN - 2 || r == n - 1)
            print_round(p, r, look);
        else if (r == ROUNDS_SHOWN - 2)
            printf("%*s.. %d rounds more\n", LABEL, "", n - ROUNDS_SHOWN + 1);
}

// ---- whose memory holds what -------------------------------------------------------------------

enum { PARTS = 5 };
static const char *const part_names[PARTS] = {"weights", "slots", "cache", "computing", "free"};
static const char *const part_marks[2][PARTS] = {{"#", "=", "c", "o", "."},
                                                 {"█", "▓", "▒", "░", "·"}};

static double gib(uint64_t bytes)
{
    return (double)bytes / (1 << 30);
}

static void print_bar(const uint64_t parts[PARTS], uint64_t all, const struct plan_look *look)
{
    double sum = 0;
    int at = 0;
    for (int i = 0; i < PARTS; i++) {
        sum += (double)parts[i];
        int to = (int)(sum / (double)all * BAR + 0.5);
        for (; at < to && at < BAR; at++)
            fputs(part_marks[look->utf8][i], stdout);
    }
    printf("%*s", BAR - at, "");
}

// In words, or with the marks of the bar.
static void print_parts(const uint64_t parts[PARTS], const struct plan_look *look, bool words)
{
    const char *before = ": ";
    for (int i = 0; i < PARTS; i++) {
        if (gib(parts[i]) < 0.005)
            continue;
        printf("%s%.*f%s%s", before, gib(parts[i]) < 0.1 ? 2 : 1, gib(parts[i]), words ? " " : "",
               words ? part_names[i] : part_marks[look->utf8][i]);
        before = words ? ", " : " ";
    }
}

static void print_memory(const struct plan *p, const struct plan_cluster *c, int node, int columns,
                         const struct plan_look *look)
{
    const struct plan_node *n = &p->nodes[node];
    const struct plan_machine *m = &c->machines[n->machine];
    uint64_t free = m->memory > n->memory ? m->memory - n->memory : 0;
    const uint64_t parts[PARTS] = {n->resident, n->slots, n->cache, n->computing + m->base, free};
    printf("%-*s", LABEL, node ? "" : "memory");
    paint(look, node);
    printf("%c %-*.*s", letter_of(node), columns, columns, m->name);
    plain(look);
    fputs("  ", stdout);
    paint(look, node);
    print_bar(parts, m->memory ? m->memory : 1, look);
    plain(look);
    printf("  %.1f GiB", gib(m->memory));
    print_parts(parts, look, look->columns >= WIDE - NAME_MOST + columns);
    putchar('\n');
    if (n->vram)
        printf("%*s%*s  %.1f of %.1f GiB of its GPU's memory: %d layers and their cache\n", LABEL,
               "", columns + 2, "", gib(n->vram), gib(m->vram), n->gpu_layers);
}

static void print_memories(const struct plan *p, const struct plan_cluster *c,
                           const struct plan_look *look)
{
    int columns = name_columns(p, c);
    putchar('\n');
    for (int i = 0; i < p->n_nodes; i++)
        print_memory(p, c, i, columns, look);
    printf("%*s%*s  ", LABEL, "", columns + 2, "");
    for (int i = 0; i < PARTS; i++)
        printf("%s%s %s", i ? "  " : "", part_marks[look->utf8][i], part_names[i]);
    putchar('\n');
}

// ---- where the time goes -----------------------------------------------------------------------

static void add_ms(struct sheet *s, double seconds)
{
    sheet_add(s, "%.*f", seconds < 0.1 ? 2 : 0, seconds * 1e3);
}

static void print_nodes(const struct plan *p, const struct plan_cluster *c)
{
    static const char *const titles[] = {"",     "machine", "layers",    "on GPU",    "compute",
                                         "wait", "hop",     "disk busy", "read/token"};
    static const bool right[] = {false, false, true, true, true, true, true, true, true};
    struct sheet s;
    bool gpus = false, streams = false;
    for (int i = 0; i < p->n_nodes; i++) {
        gpus = gpus || p->nodes[i].gpu_layers;
        streams = streams || p->nodes[i].streamed;
    }
    sheet_init(&s, titles, right, sizeof right);
    for (int i = 0; i < p->n_nodes; i++) {
        const struct plan_node *n = &p->nodes[i];
        char read[AMOUNT_BYTES];
        amount_size(read, n->streamed);
        sheet_add(&s, "%c", letter_of(i));
        sheet_add(&s, "%s%s", name_of(p, c, i), i == p->n_nodes - 1 ? " (head)" : "");
        sheet_add(&s, "%d", n->layers);
        if (gpus)
            sheet_add(&s, "%d", n->gpu_layers);
        else
            sheet_add(&s, "%s", "");
        add_ms(&s, n->compute);
        add_ms(&s, n->wait);
        add_ms(&s, n->hop);
        if (streams) {
            add_ms(&s, n->disk);
            sheet_add(&s, "%s", n->streamed ? read : "0");
        } else {
            sheet_add(&s, "%s", "");
            sheet_add(&s, "%s", "");
        }
    }
    putchar('\n');
    sheet_print_columns(&s);
    sheet_fini(&s);
    printf("milliseconds of a token, all rounds together; hop: the way to this machine\n");
}

void plan_page_print(const struct plan *p, const struct plan_cluster *c,
                     const struct plan_setting *s, const struct plan_look *look)
{
    print_promise(p, s);
    print_map(p, look);
    print_memories(p, c, look);
    print_nodes(p, c);
}
